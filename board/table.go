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
		for it.Next() {
			row, err := it.Columns()
			if err != nil {
				return nil, fmt.Errorf("workbook: sheet %q: row %d: %w", sheet, len(rows)+1, err)
			}
			if rows = append(rows, row); len(rows) > maxRows {
				return nil, fmt.Errorf("workbook: sheet %q: more than %d rows", sheet, maxRows)
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
	var rows [][]string
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
		for i, c := range row {
			row[i] = unguarded(c)
		}
		if rows = append(rows, row); len(rows) > maxRows {
			return nil, fmt.Errorf("more than %d rows", maxRows)
		}
	}
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
