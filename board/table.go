package board

import (
	"bytes"
	"encoding/binary"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/xuri/excelize/v2"
)

// table returns the rows of a file.
func table(data []byte) ([][]string, error) {
	switch {
	case len(data) > MaxBytes:
		return nil, fmt.Errorf("offset %d: exceeds the limit of %d bytes", MaxBytes, MaxBytes)
	case bytes.HasPrefix(data, []byte("PK")):
		return workbook(data)
	}
	return separated(text(data))
}

// workbook reads the first sheet that has something in it. A workbook is a zip
// of XML: what it may expand to is bounded.
func workbook(data []byte) ([][]string, error) {
	f, err := excelize.OpenReader(bytes.NewReader(data), excelize.Options{UnzipSizeLimit: 4 * MaxBytes, UnzipXMLSizeLimit: MaxBytes, RawCellValue: true})
	if err != nil {
		return nil, fmt.Errorf("workbook: %w", err)
	}
	defer f.Close()
	for _, sheet := range f.GetSheetList() {
		it, err := f.Rows(sheet)
		if err != nil {
			return nil, fmt.Errorf("workbook: sheet %q: %w", sheet, err)
		}
		var rows [][]string
		cells := 0
		for it.Next() {
			row, err := it.Columns()
			if err != nil {
				return nil, fmt.Errorf("workbook: sheet %q: row %d: %w", sheet, len(rows)+1, err)
			}
			cells += len(row)
			switch rows = append(rows, row); {
			case len(rows) > maxRows:
				return nil, fmt.Errorf("workbook: sheet %q: more than %d rows", sheet, maxRows)
			case len(row) > maxColumns, cells > maxCells:
				return nil, fmt.Errorf("workbook: sheet %q: row %d: more than %d columns or %d cells", sheet, len(rows), maxColumns, maxCells)
			}
		}
		if err := it.Error(); err != nil {
			return nil, fmt.Errorf("workbook: sheet %q: %w", sheet, err)
		}
		if len(rows) > 1 {
			return rows, nil
		}
	}
	return nil, errors.New("workbook: no sheet has a table")
}

// text decodes what spreadsheets write: UTF-8 or UTF-16 with a mark, else
// Windows-1252 where it is not UTF-8.
func text(b []byte) string {
	switch {
	case bytes.HasPrefix(b, []byte("\xef\xbb\xbf")):
		return string(b[3:])
	case bytes.HasPrefix(b, []byte("\xff\xfe")), bytes.HasPrefix(b, []byte("\xfe\xff")):
		order := binary.ByteOrder(binary.LittleEndian)
		if b[0] == 0xfe {
			order = binary.BigEndian
		}
		var u []uint16
		for i := 2; i+1 < len(b); i += 2 {
			u = append(u, order.Uint16(b[i:]))
		}
		return string(utf16.Decode(u))
	case utf8.Valid(b):
		return string(b)
	}
	r := make([]rune, len(b))
	for i, c := range b {
		r[i] = rune(c)
	}
	return string(r)
}

// separated reads separated values with the separator that the text has most of.
func separated(s string) ([][]string, error) {
	sample := s[:min(len(s), 64<<10)]
	in := csv.NewReader(strings.NewReader(s))
	in.FieldsPerRecord, in.LazyQuotes, in.TrimLeadingSpace = -1, true, true
	counts := separators(sample)
	for _, sep := range []rune{';', '\t'} {
		if counts[sep] > counts[in.Comma] {
			in.Comma = sep
		}
	}
	if err := narrow(s, in.Comma); err != nil {
		return nil, err
	}
	rows, err := strict(s, in.Comma)
	if err != nil {
		var ok bool
		if rows, ok = quotedLines(s); !ok {
			if rows, err = values(in); err != nil {
				return nil, err
			}
		}
	}
	for _, row := range rows {
		for i, c := range row {
			row[i] = unguarded(c)
		}
	}
	return rows, nil
}

// strict reads a table that is as RFC 4180 says, with as many cells in every line:
// there is one way to read it.
func strict(s string, sep rune) ([][]string, error) {
	in := csv.NewReader(strings.NewReader(s))
	in.Comma = sep
	return values(in)
}

// values reads the lines of a table.
func values(in *csv.Reader) (rows [][]string, err error) {
	for {
		row, err := in.Read()
		if errors.Is(err, io.EOF) {
			if len(rows) < 2 {
				return nil, errors.New("no table in it")
			}
			return rows, nil
		}
		if err != nil {
			return nil, err
		}
		if rows = append(rows, row); len(rows) > maxRows {
			return nil, fmt.Errorf("more than %d rows", maxRows)
		}
	}
}

// narrow refuses lines of very many columns before they cost memory.
func narrow(s string, sep rune) error {
	n, cells := 1, 0
	for line := range strings.Lines(s) {
		c := strings.Count(line, string(sep))
		if cells += c; c >= maxColumns || cells > maxCells {
			return fmt.Errorf("line %d: more than %d columns or %d cells", n, maxColumns, maxCells)
		}
		n++
	}
	return nil
}

// quotedLines reads a table whose tool puts every cell in quotes and leaves those
// inside of a cell as they are, as Altium does with inches: 1/16"". A reader of
// separated values would take the lines behind it into the cell. ok is false when
// a line has another number of cells than the headers.
func quotedLines(s string) (rows [][]string, ok bool) {
	cells := 0
	for line := range strings.Lines(s) {
		line = strings.TrimRight(line, "\r\n")
		switch quoted := len(line) > 1 && line[0] == '"' && line[len(line)-1] == '"'; {
		case len(rows) == maxRows || cells > 0 && !quoted && line != "":
			return nil, false
		case !quoted:
			rows = append(rows, []string{line})
		default:
			row := strings.Split(line[1:len(line)-1], `","`)
			if cells == 0 {
				cells = len(row)
			}
			if len(row) != cells || cells < 2 {
				return nil, false
			}
			for i := range row {
				row[i] = strings.ReplaceAll(row[i], `""`, `"`)
			}
			rows = append(rows, row)
		}
	}
	return rows, cells > 0 && len(rows) > 1
}

// separators counts what may separate values, outside quoted ones.
func separators(s string) map[rune]int {
	out := map[rune]int{}
	quoted := false
	for _, c := range s {
		switch c {
		case '"':
			quoted = !quoted
		case '\n':
			quoted = false // an inch sign is no quote; it must not hide the rest
		}
		if !quoted {
			out[c]++
		}
	}
	return out
}

// guarded are the characters with which a cell is a formula to a spreadsheet, or
// looks as if it had been guarded.
const guarded = "=+@\t\r'"

// Guard makes a value safe to be opened by a spreadsheet: what begins like a
// formula gets an apostrophe, which reading takes away again.
func Guard(cell string) string {
	if cell != "" && strings.ContainsRune(guarded, rune(cell[0])) {
		return "'" + cell
	}
	return cell
}

func unguarded(cell string) string {
	if len(cell) > 1 && cell[0] == '\'' && strings.ContainsRune(guarded, rune(cell[1])) {
		return cell[1:]
	}
	return cell
}

func number(s string) float64 {
	v, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(s), "mm"), 64)
	if err != nil || v != v || v > 1e9 || v < -1e9 {
		return 0
	}
	return v
}
