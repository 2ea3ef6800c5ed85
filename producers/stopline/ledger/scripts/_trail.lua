-- requires: commit replies audit
-- What was taken in, and by whom; what was refused changed nothing.
at_commit(function()
  if not options.audit then return end
  for index = 1, #replies / 4 do
    local kind, id = replies[4 * index - 3], replies[4 * index - 2]
    if kind ~= 'refused' then audit(index, 'receipt', kind, 'follow', id) end
  end
end)
