-- Text as a JSON string, quotes included. What scripts write as JSON goes through it, comes in as JSON,
-- or is of characters that need no escaping: ids, numbers, moments, and words of ours.
local function json_string(text)
  return cjson.encode(text)
end
