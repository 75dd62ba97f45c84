-- What pandoc's LaTeX is not to decide: LaTeX that is there already, and tables that fit the page.

local ROWS = 30 -- of a table that is kept on one page
local WIDE = 105 -- characters side by side, before a table is broken into lines or parts

local function is_latex(element) return element.classes:includes("latex") end
-- What stands for signs that "smart" would have changed (U+FDD0 and so on).
local guarded = { ["\u{FDD0}"] = "'", ["\u{FDD1}"] = '"', ["\u{FDD2}"] = "-", ["\u{FDD3}"] = "." }
local function as_is(text) return text:gsub("\239\183[\144-\147]", guarded) end
function Code(element)
  if is_latex(element) then return pandoc.RawInline("latex", (as_is(element.text))) end
end
function CodeBlock(element)
  if is_latex(element) then return pandoc.RawBlock("latex", (as_is(element.text))) end
end

function Str(element) -- after \\ a star would be a part of it
  if element.text:sub(1, 1) == "*" then
    return { pandoc.RawInline("latex", "{*}"), pandoc.Str(element.text:sub(2)) }
  end
end

local function latex(blocks)
  return (pandoc.write(pandoc.Pandoc(blocks), "latex"):gsub("%s+$", ""))
end

-- The text of a cell, with letters for the place that formulas, pictures and lists take.
local function text_of(blocks)
  local text = pandoc.utils.stringify(blocks)
  pandoc.Blocks(blocks):walk({
    RawInline = function(raw)
      local room = raw.text:find("nbpicture") and 20 or math.min(#raw.text // 2, 30)
      text = text .. string.rep("x", room)
    end,
    BulletList = function() text = text .. string.rep("x", 20) end,
  })
  return text
end

local function color_of(cell)
  local given, found = cell.attr.attributes, ""
  if given.fill then found = "\\cellcolor[HTML]{" .. given.fill .. "}" end
  if given.ink then found = found .. "\\color[HTML]{" .. given.ink .. "}" end
  return found
end

-- The rows of a table as a grid in which a cell that spans others leaves them empty; how many of
-- them are its head; and whether all cells hold a line of text at most.
local function grid_of(element)
  local grid, simple, rows = {}, true, element.head.rows:clone()
  for _, body in ipairs(element.bodies) do
    rows:extend(body.head)
    rows:extend(body.body)
  end
  rows:extend(element.foot.rows)
  for r in ipairs(rows) do grid[r] = {} end
  for r, row in ipairs(rows) do
    local c = 1
    for _, cell in ipairs(row.cells) do
      while grid[r][c] do c = c + 1 end
      for i = r, math.min(r + cell.row_span - 1, #rows) do
        for j = c, c + cell.col_span - 1 do grid[i][j] = { blocks = {}, text = "" } end
      end
      local blocks = cell.contents
      grid[r][c] = { blocks = blocks, text = text_of(blocks), color = color_of(cell) }
      local first = blocks[1] and blocks[1].t or "Plain"
      simple = simple and #blocks < 2 and (first == "Plain" or first == "Para")
    end
    for c = 1, #element.colspecs do grid[r][c] = grid[r][c] or { blocks = {}, text = "" } end
  end
  return grid, #element.head.rows, simple
end

-- Whether a text is a number; nil for what stands among numbers where there is none.
local none = { [""] = true, nan = true, NaN = true, None = true, ["…"] = true, ["..."] = true }
local function number(text)
  if none[text] then return nil end
  return tonumber((text:gsub("[,%s%%×]", ""):gsub("−", "-"))) ~= nil
end

-- Of each column: is it of numbers, its longest text, its longest word.
local function measure(grid, head, columns)
  local found = {}
  for c = 1, columns do
    local column, any, all = { width = 1, word = 1 }, false, true
    for r, row in ipairs(grid) do
      local text, is = row[c].text, number(row[c].text)
      column.width = math.max(column.width, utf8.len(text) or #text)
      for word in text:gmatch("%S+") do
        column.word = math.max(column.word, utf8.len(word) or #word)
      end
      if r > head then any, all = any or is == true, all and is ~= false end
    end
    column.numbers, found[c] = any and all, column
  end
  return found
end

-- A cell as LaTeX; in a column of so many characters long words may be broken.
local function set(cell, room)
  local longest = room and math.max(math.floor(0.7 * room), 4)
  local function break_words(element)
    if utf8.len(element.text) and utf8.len(element.text) > longest then
      local parts, run = pandoc.List(), ""
      for _, code in utf8.codes(element.text) do
        run = run .. utf8.char(code)
        if utf8.len(run) >= longest or run:find("[%._/-]$") then
          parts:insert(pandoc.Str(run))
          parts:insert(pandoc.RawInline("latex", "\\hwbr{}"))
          run = ""
        end
      end
      parts:insert(pandoc.Str(run))
      return parts
    end
  end
  local blocks = pandoc.Blocks(cell.blocks):walk({
    LineBreak = function() return room and pandoc.RawInline("latex", "\\newline ") or pandoc.Space() end,
    Str = room and break_words or nil,
  })
  return (cell.color or "") .. latex(blocks)
end

-- The columns of ``which`` as one table of the class.
local function tabular(grid, head, which, specs, rooms, size)
  local function line(row)
    local cells = {}
    for i, c in ipairs(which) do cells[i] = set(row[c], rooms and rooms[c]) end
    return table.concat(cells, " & ") .. " \\\\"
  end
  local letters = {}
  for i, c in ipairs(which) do letters[i] = specs[c] end
  local kind = #grid > ROWS and "nblongtable" or "nbtable"
  local lines = { "\\begin{" .. kind .. "}{" .. size .. "}{" .. table.concat(letters) .. "}" }
  for r = 1, head do table.insert(lines, line(grid[r])) end
  if head > 0 then table.insert(lines, "\\midrule") end
  if kind == "nblongtable" then table.insert(lines, "\\endhead") end
  for r = head + 1, #grid do table.insert(lines, line(grid[r])) end
  table.insert(lines, "\\end{" .. kind .. "}")
  return table.concat(lines, "\n")
end

function Table(element)
  local grid, head, simple = grid_of(element)
  if #grid == 0 then return {} end
  local columns = #element.colspecs
  local found, specs, total, longest = measure(grid, head, columns), {}, 0, 0
  local given = { AlignRight = "r", AlignCenter = "c" }
  local all = {}
  for c, column in ipairs(found) do
    specs[c] = given[tostring(element.colspecs[c][1])] or (column.numbers and "r" or "l")
    total, longest, all[c] = total + column.width + 2, math.max(longest, column.width), c
  end
  local size = total > 90 and "\\footnotesize" or "\\small"
  local parts = {}
  if simple and total <= WIDE then
    parts[1] = tabular(grid, head, all, specs, nil, size)
  elseif longest > 30 or not simple or columns < 4 then -- text: lines in columns
    local rooms, room, wanted = {}, 98 - 3 * columns, 0
    for c, column in ipairs(found) do
      rooms[c] = math.max(math.min(column.width, 12), math.min(column.word, 20)) + 1
      room, wanted = room - rooms[c], wanted + math.max(column.width - rooms[c], 0)
    end
    for c, column in ipairs(found) do
      rooms[c] = rooms[c] + math.floor(math.max(room, 0) * math.max(column.width - rooms[c], 0) / math.max(wanted, 1))
      specs[c] = string.format("L{%.3f\\linewidth}", rooms[c] / 100)
    end
    parts[1] = tabular(grid, head, all, specs, rooms, "\\small")
  else -- many columns: below one another, each part with the first
    local which, room = { 1 }, WIDE - found[1].width
    for c = 2, columns do
      if found[c].width + 2 > room and #which > 1 then
        table.insert(parts, tabular(grid, head, which, specs, nil, "\\footnotesize"))
        which, room = { 1 }, WIDE - found[1].width
      end
      table.insert(which, c)
      room = room - found[c].width - 2
    end
    table.insert(parts, tabular(grid, head, which, specs, nil, "\\footnotesize"))
  end
  if #element.caption.long > 0 then
    table.insert(parts, 1, latex(element.caption.long) .. "\\par")
  end
  return pandoc.RawBlock("latex", "\\begin{nbtables}\n" .. table.concat(parts, "\n\n") .. "\n\\end{nbtables}")
end
