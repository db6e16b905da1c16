package board

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// maxDepth bounds nested elements of an IPC-2581 file.
const maxDepth = 64

// isIPC2581 reports whether a file is an IPC-2581 document.
func isIPC2581(data []byte) bool {
	head := data[:min(len(data), 4096)]
	return bytes.HasPrefix(bytes.TrimLeft(head, "\ufeff \t\r\n"), []byte("<")) && bytes.Contains(head, []byte("<IPC-2581"))
}

// ipcItem is one BomItem while it is read.
type ipcItem struct {
	part     Part
	quantity string
	places   []Part
}

// ipcReader reads the bill of materials of an IPC-2581 document: its lines
// (BomItem), the approved makers of each (Avl) and the positions (Component).
// Geometry is skipped.
type ipcReader struct {
	bom         *BOM
	item        *ipcItem
	items       []*ipcItem
	enterprises map[string]string
	avl         string              // OEM design number that the list of makers is for
	approved    map[string][]ipcMPN // by OEM design number
	vmpn        *ipcMPN
	where       map[string]Part // positions by designator
	component   string
	path        []string
}

type ipcMPN struct {
	number, maker string
	rank          int
	chosen        bool
}

func readIPC2581(name string, data []byte) (*BOM, error) {
	if len(data) > MaxBytes {
		return nil, fmt.Errorf("%s: offset %d: exceeds the limit of %d bytes", name, MaxBytes, MaxBytes)
	}
	r := &ipcReader{
		bom:         &BOM{Name: name, Columns: map[string]string{}, Parts: []Part{}, Loose: []Part{}, Warnings: []Warning{}, Lost: []string{}},
		enterprises: map[string]string{}, approved: map[string][]ipcMPN{}, where: map[string]Part{},
	}
	d := xml.NewDecoder(bytes.NewReader(data))
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%s: offset %d: %w", name, d.InputOffset(), err)
		}
		switch x := tok.(type) {
		case xml.Directive:
			return nil, fmt.Errorf("%s: offset %d: a document type declaration", name, d.InputOffset())
		case xml.StartElement:
			if len(r.path) == maxDepth {
				return nil, fmt.Errorf("%s: offset %d: more than %d nested elements", name, d.InputOffset(), maxDepth)
			}
			r.path = append(r.path, x.Name.Local)
			line, _ := d.InputPos()
			if err := r.open(x, line); err != nil {
				return nil, fmt.Errorf("%s: offset %d: %w", name, d.InputOffset(), err)
			}
		case xml.EndElement:
			r.path = r.path[:len(r.path)-1]
			r.close(x.Name.Local)
		}
	}
	if err := r.finish(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return r.bom, nil
}

func (r *ipcReader) open(e xml.StartElement, line int) error {
	at := func(name string) string {
		for _, a := range e.Attr {
			if a.Name.Local == name {
				return strings.TrimSpace(a.Value)
			}
		}
		return ""
	}
	switch e.Name.Local {
	case "BomHeader":
		r.bom.Assembly, r.bom.Revision = at("assembly"), at("revision")
	case "Enterprise":
		r.enterprises[at("id")] = first(at("name"), at("code"))
	case "BomItem":
		r.item = &ipcItem{part: Part{PartNumber: at("OEMDesignNumberRef"), Description: at("description"), Row: line}, quantity: at("quantity")}
		r.items = append(r.items, r.item)
	case "RefDes":
		if r.item == nil {
			return nil
		}
		if len(r.items)+len(r.item.places) > maxParts {
			return fmt.Errorf("more than %d parts", maxParts)
		}
		r.item.places = append(r.item.places, Part{Designator: strings.ToUpper(at("name")), Footprint: at("packageRef"), Layer: at("layerRef"), NotFitted: at("populate") == "false", Row: line})
	case "Textual":
		if r.item != nil && slices.Contains([]string{"VALUE", "COMP_VALUE"}, strings.ToUpper(at("textualCharacteristicName"))) {
			r.item.part.Value = at("textualCharacteristicValue")
		}
	case "AvlItem":
		r.avl = at("OEMDesignNumber")
	case "AvlVmpn":
		r.vmpn = &ipcMPN{chosen: at("chosen") == "true"}
	case "AvlMpn":
		if r.vmpn != nil {
			r.vmpn.number = at("name")
			r.vmpn.rank, _ = strconv.Atoi(at("rank"))
		}
	case "AvlVendor":
		if r.vmpn != nil {
			r.vmpn.maker = at("enterpriseRef")
		}
	case "Component":
		r.component = strings.ToUpper(at("refDes"))
	case "Location":
		if r.component != "" && len(r.path) > 1 && r.path[len(r.path)-2] == "Component" && len(r.where) < maxParts {
			r.where[r.component] = Part{X: number(at("x")), Y: number(at("y"))}
		}
	}
	return nil
}

func (r *ipcReader) close(name string) {
	switch name {
	case "BomItem":
		r.item = nil
	case "AvlVmpn":
		if r.vmpn != nil && r.vmpn.number != "" {
			r.approved[r.avl] = append(r.approved[r.avl], *r.vmpn)
		}
		r.vmpn = nil
	case "AvlItem":
		r.avl = ""
	case "Component":
		r.component = ""
	}
}

// finish gives each place its part: the maker's number that the list of
// approved makers has chosen, else the one of the best rank, else the house
// number.
func (r *ipcReader) finish() error {
	if len(r.items) == 0 {
		return errors.New("offset 0: an IPC-2581 document without a bill of materials (BomItem)")
	}
	r.bom.Columns = map[string]string{fieldDesignator: "RefDes/@name", fieldPartNumber: "BomItem/@OEMDesignNumberRef", fieldFootprint: "RefDes/@packageRef", fieldNotFitted: "RefDes/@populate"}
	r.bom.Alternates = map[string][]Alternate{}
	for _, it := range r.items {
		p := it.part
		list := r.approved[p.PartNumber]
		slices.SortStableFunc(list, func(a, b ipcMPN) int {
			if a.chosen != b.chosen {
				return map[bool]int{true: -1, false: 1}[a.chosen]
			}
			return a.rank - b.rank
		})
		if len(list) > 0 {
			r.bom.Columns[fieldPartNumber], r.bom.Columns[fieldMaker] = "AvlMpn/@name", "AvlVendor/@enterpriseRef"
			p.PartNumber, p.Maker = list[0].number, first(r.enterprises[list[0].maker], list[0].maker)
		}
		others := r.others(list)
		fitted := 0
		for _, place := range it.places {
			q := p
			q.Designator, q.Footprint, q.Layer, q.NotFitted, q.Row = place.Designator, place.Footprint, place.Layer, place.NotFitted, place.Row
			w := r.where[q.Designator]
			q.X, q.Y = w.X, w.Y
			if !q.NotFitted {
				fitted++
			}
			if !oneDesignator.MatchString(q.Designator) {
				r.bom.warn(q.Row, "%.60q is no designator", q.Designator)
			}
			r.bom.Parts = append(r.bom.Parts, q)
			if len(others) > 0 {
				r.bom.Alternates[q.Designator] = others
			}
		}
		if len(it.places) == 0 {
			r.bom.Loose = append(r.bom.Loose, p)
		}
		if q := number(it.quantity); it.quantity != "" && len(it.places) > 0 && int(q) != len(it.places) && int(q) != fitted {
			r.bom.warn(p.Row, "the quantity is %s, %d places are named", it.quantity, len(it.places))
		}
	}
	if len(r.bom.Parts) > maxParts {
		return fmt.Errorf("more than %d parts", maxParts)
	}
	r.bom.finish()
	return nil
}

// others are the approved parts behind the one that was chosen.
func (r *ipcReader) others(list []ipcMPN) []Alternate {
	var out []Alternate
	for _, m := range list[min(1, len(list)):] {
		out = append(out, Alternate{Maker: first(r.enterprises[m.maker], m.maker), PartNumber: m.number})
	}
	return out
}

func first(s ...string) string {
	for _, x := range s {
		if x != "" && x != "UNKNOWN" {
			return x
		}
	}
	return ""
}
