-- requires: commit replies audit
-- What was taken in, and by whom; what was refused, or known, changed nothing.
at_commit(function()
  if not options.audit then return end
  for index = 1, #replies / 4 do
    local kind, id = replies[4 * index - 3], replies[4 * index - 2]
    local is_new = kind ~= 'refused' and kind ~= 'duplicate'
    if is_new then audit(index, 'receipt', kind, 'follow', id) end
  end
end)
