package html

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/firmware"
	"github.com/assay-hw/assay/report"
)

//go:embed flash.html.tmpl
var flashSource string

// Flash is a page about firmware images: one, or two that were compared.
type Flash struct {
	Title    string
	Images   []*firmware.Image
	Changes  []firmware.Change // between the images; nil for one
	Volatile []firmware.Change // as Changes, what is written in operation
	Compared bool
	Findings []finding.Finding
}

// WriteFlash draws each image to scale, who owns which bytes, with the changes
// highlighted, and lists the parts and the changes.
func WriteFlash(w io.Writer, f Flash) error {
	t, err := f.templates()
	if err != nil {
		return err
	}
	if err := t.Execute(w, f); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}

// Map draws one image as a piece of a page that has more: to scale, who owns which
// bytes, and its parts.
func Map(m *firmware.Image) (template.HTML, error) {
	t, err := Only(m).templates()
	if err != nil {
		return "", err
	}
	var b strings.Builder
	if err := t.ExecuteTemplate(&b, "flash", oneImage{m, false}); err != nil {
		return "", fmt.Errorf("report: %w", err)
	}
	return template.HTML(b.String()), nil //nolint:gosec // a template escaped every text in it
}

// oneImage is what the template of one image takes.
type oneImage struct {
	Image    *firmware.Image
	Compared bool
}

func (f Flash) templates() (*template.Template, error) {
	touched := map[*firmware.Image]map[string]bool{}
	for _, m := range f.Images {
		touched[m] = f.touched(m)
	}
	t, err := template.New("page").Funcs(template.FuncMap{
		"plain": report.Plain,
		"one":   func(m *firmware.Image) oneImage { return oneImage{m, f.Compared} },
		"map":   func(m *firmware.Image) template.HTML { return flashSVG(m, touched[m]) },
		"own":   func(m *firmware.Image) []owner { return owners(m, touched[m]) },
		"tree":  func(m *firmware.Image) template.HTML { return tree(m, touched[m]) },
		"hex":   func(n int64) string { return fmt.Sprintf("%08x", n) },
		"size":  sizeText,
		"short": func(s string) string { return s[:min(len(s), 16)] },
		"join":  func(s []string) string { return strings.Join(s, ", ") },
	}).Parse(flashSource)
	if err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	return t, nil
}

// touched returns the top leaves of an image in which a change lies, by path.
func (f Flash) touched(m *firmware.Image) map[string]bool {
	top, out := map[string]bool{}, map[string]bool{}
	for _, l := range m.Parts() {
		top[l.Path] = true
	}
	for _, c := range slices.Concat(f.Changes, f.Volatile) {
		for _, p := range []string{c.Path, c.From} {
			for ; p != ""; p = p[:max(0, strings.LastIndexByte(p, '/'))] {
				if top[p] {
					out[p] = true
				}
			}
		}
	}
	return out
}

func sizeText(n int64) string {
	switch {
	case n >= 1<<20:
		return fmt.Sprintf("%.2f MiB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%d bytes", n)
}

// owner is a run of top leaves that belong to one thing: a region, a volume, an
// area.
type owner struct {
	Number        int
	Name          string
	Offset, Size  int64
	Used, Changed int64
	Volatile      int64
	Hue           int
}

// owners lists who the bytes of an image belong to, in offset order.
func owners(m *firmware.Image, changed map[string]bool) []owner {
	var out []owner
	key := ""
	for _, l := range m.Parts() {
		k, name := ownerOf(l)
		if len(out) == 0 || k != key {
			key = k
			out = append(out, owner{Number: len(out) + 1, Name: name, Offset: l.Offset, Hue: len(out) * 67 % 360})
		}
		o := &out[len(out)-1]
		o.Size += l.Length
		switch l.Kind {
		case firmware.Padding, firmware.Free:
		case firmware.Volatile:
			o.Volatile += l.Length
			o.Used += l.Length
		default:
			o.Used += l.Length
		}
		if changed[l.Path] {
			o.Changed += l.Length
		}
	}
	return out
}

// ownerOf names what a top leaf belongs to: the first part of its path. Room
// between things belongs to what is before it.
func ownerOf(l firmware.Leaf) (key, name string) {
	key, _, _ = strings.Cut(l.Path, "/")
	if i := strings.IndexAny(key, "+"); i > 0 && !strings.HasPrefix(key, "region:") {
		key = key[:i]
	}
	name = key
	if l.Type == "volume" && l.Name != "" {
		name = l.Name + " " + key
	}
	return key, name
}

const (
	mapWidth  = 1024
	rowHeight = 18
	rowGap    = 4
	margin    = 84 // for the offsets
	maxRows   = 48
	maxRects  = 20000
)

// flashSVG draws an image to scale: each row is the same number of bytes. What
// is next to each other and alike is one rectangle.
func flashSVG(m *firmware.Image, changed map[string]bool) template.HTML {
	row := int64(4096)
	for m.Size > row*maxRows {
		row *= 2
	}
	var b, labels strings.Builder
	rects := 0
	key, n, labelled := "", -1, -1
	var hit []firmware.Leaf
	for _, l := range m.Parts() {
		if k, _ := ownerOf(l); k != key || n < 0 {
			key = k
			n++
		}
		if rects += drawLeaf(&b, l, row, n, ""); rects > maxRects {
			break
		}
		if x := l.Offset % row * mapWidth / row; labelled != n && l.Length*mapWidth/row >= 24 && x < mapWidth-24 {
			labelled = n
			fmt.Fprintf(&labels, `<text class="n" x="%d" y="%d">%d</text>`, margin+x+4, int(l.Offset/row)*(rowHeight+rowGap)+13, n+1)
		}
		if changed[l.Path] {
			hit = append(hit, l)
		}
	}
	for _, l := range hit {
		drawLeaf(&b, l, row, 0, "hit")
	}
	b.WriteString(labels.String()) // colours do not tell owners apart by themselves
	rows := int((m.Size + row - 1) / row)
	for i := range rows {
		fmt.Fprintf(&b, `<text x="0" y="%d">%08x</text>`, i*(rowHeight+rowGap)+13, int64(i)*row)
	}
	head := fmt.Sprintf(`<svg class="flash" role="img" aria-label="Map of the flash, %s in each row" viewBox="0 0 %d %d" xmlns="http://www.w3.org/2000/svg">`+hatch,
		sizeText(row), margin+mapWidth+2, rows*(rowHeight+rowGap))
	return template.HTML(head + b.String() + "</svg>") //nolint:gosec // every text in it is escaped
}

const hatch = `<defs><pattern id="hit" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect width="3" height="6" fill="#b42318"/></pattern>` +
	`<pattern id="vol" width="4" height="4" patternUnits="userSpaceOnUse"><circle cx="1" cy="1" r="1" fill="#57606a"/></pattern></defs>`

// drawLeaf draws the rectangles of a leaf in each row that it touches, and
// returns how many.
func drawLeaf(b *strings.Builder, l firmware.Leaf, row int64, owner int, class string) int {
	title := fmt.Sprintf("<title>%08x to %08x, %s: %s</title>", l.Offset, l.Offset+l.Length, l.Kind, escaped(strings.TrimSpace(l.Type+" "+l.Name+" "+l.Path), 160))
	least := 0.0
	if class != "" {
		least = 3 // a small change must be seen
	}
	n := 0
	for at := l.Offset; at < l.Offset+l.Length; n++ {
		end := min(l.Offset+l.Length, (at/row+1)*row)
		x := float64(at%row) / float64(row) * mapWidth
		width := max(float64(end-at)/float64(row)*mapWidth, least)
		y := int(at/row) * (rowHeight + rowGap)
		if class != "" {
			fmt.Fprintf(b, `<rect class="%s" x="%.2f" y="%d" width="%.2f" height="%d">%s</rect>`, class, margin+x, y, width, rowHeight, title)
		} else {
			fmt.Fprintf(b, `<rect x="%.2f" y="%d" width="%.2f" height="%d" fill="%s">%s</rect>`, margin+x, y, width, rowHeight, fill(l.Kind, owner), title)
			if l.Kind == firmware.Volatile {
				fmt.Fprintf(b, `<rect x="%.2f" y="%d" width="%.2f" height="%d" fill="url(#vol)"/>`, margin+x, y, width, rowHeight)
			}
		}
		at = end
	}
	return n
}

// fill gives each owner a colour and each kind a lightness.
func fill(k firmware.Kind, owner int) string {
	light := map[firmware.Kind]int{firmware.Code: 55, firmware.Data: 70, firmware.Header: 35, firmware.Volatile: 82, firmware.Unknown: 62}[k]
	if light == 0 {
		return "#f0f2f5" // room
	}
	return fmt.Sprintf("hsl(%d 55%% %d%%)", owner*67%360, light)
}

const maxNodes = 20000

// tree lists the parts as nested, closed lists; those with changes are open.
func tree(m *firmware.Image, changed map[string]bool) template.HTML {
	var b strings.Builder
	left := maxNodes
	var walk func(ls []firmware.Leaf, top bool)
	walk = func(ls []firmware.Leaf, top bool) {
		b.WriteString("<ul>")
		for _, l := range ls {
			if l.Surrounds() && len(l.Inside) == 0 || left <= 0 {
				continue
			}
			left--
			text := fmt.Sprintf(`<code>%08x +%x</code> <span class="kind">%s</span> %s`, l.Offset, l.Length, l.Kind, escaped(strings.TrimSpace(l.Type+" "+l.Name+" "+l.Path[strings.LastIndexByte(l.Path, '/')+1:]), 200))
			if top && changed[l.Path] {
				text += ` <strong class="changed">changed</strong>`
			}
			if l.Module() {
				b.WriteString("<li>" + text + "</li>")
				continue
			}
			b.WriteString("<li><details><summary>" + text + "</summary>")
			walk(l.Inside, false)
			b.WriteString("</details></li>")
		}
		b.WriteString("</ul>")
	}
	walk(m.Parts(), true)
	if left <= 0 {
		fmt.Fprintf(&b, "<p>The first %d parts; firmware list has all.</p>", maxNodes)
	}
	return template.HTML(b.String()) //nolint:gosec // every text in it is escaped
}

// Only is the page of one image.
func Only(m *firmware.Image) Flash {
	return Flash{Title: m.Name, Images: []*firmware.Image{m}, Findings: finding.Sort(slices.Concat(m.Observed(), m.Inside()))}
}
