-- Tables of Markdown as the press sets all its tables; code with its language, to be highlighted
-- by nobody; pictures at most as wide as the page.

local MAX_ROWS = 40 -- that fit under one another on a page

local function latex(blocks)
  local text = pandoc.write(pandoc.Pandoc(blocks), "latex")
  return (text:gsub("%s+$", ""))
end

local function row(cells)
  local parts = {}
  for i, cell in ipairs(cells) do parts[i] = latex(cell.contents) end
  return table.concat(parts, " & ") .. " \\\\"
end

function Table(element)
  local letters = { AlignRight = "r", AlignCenter = "c" }
  local columns = ""
  local longest = {}
  local function measure(cells)
    for i, cell in ipairs(cells) do
      longest[i] = math.max(longest[i] or 0, #pandoc.utils.stringify(cell.contents))
    end
  end
  for _, line in ipairs(element.head.rows) do measure(line.cells) end
  for _, body in ipairs(element.bodies) do
    for _, line in ipairs(body.body) do measure(line.cells) end
  end
  local total = 0
  for _, length in ipairs(longest) do total = total + math.max(length, 4) end
  for i, spec in ipairs(element.colspecs) do
    if total > 90 then -- wrap: widths in proportion to what the columns hold
      local share = math.max(longest[i] or 4, 8) / total * 0.96
      columns = columns .. string.format("L{%.3f\\linewidth}", math.min(share, 0.8))
    else
      columns = columns .. (letters[tostring(spec[1])] or "l")
    end
  end
  local lines = {}
  local function begin()
    table.insert(lines, "\\begin{nbtable}{" .. columns .. "}")
    for _, line in ipairs(element.head.rows) do table.insert(lines, row(line.cells)) end
    table.insert(lines, "\\midrule")
  end
  begin()
  local count = 0
  for _, body in ipairs(element.bodies) do
    for _, line in ipairs(body.body) do
      if count > 0 and count % MAX_ROWS == 0 then
        table.insert(lines, "\\end{nbtable}\n")
        begin()
      end
      table.insert(lines, row(line.cells))
      count = count + 1
    end
  end
  return pandoc.RawBlock("latex", "\\begin{nbtables}" .. table.concat(lines, "\n")
    .. "\n\\end{nbtable}\\end{nbtables}")
end

function CodeBlock(element)
  local text = element.text:gsub("[\\{}]", { ["\\"] = "\\textbackslash{}", ["{"] = "\\{", ["}"] = "\\}" })
  local _, breaks = text:gsub("\n", "")
  local count = string.format("\\hwlines{%d}", breaks + 1)
  return pandoc.RawBlock("latex", count .. "\\begin{nboutput}\n" .. text .. "\n\\end{nboutput}")
end
