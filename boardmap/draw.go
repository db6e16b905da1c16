package boardmap

import (
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"unicode"

	"github.com/assay-hw/assay/board"
)

// ErrNoPositions says that a picture needs a pick-and-place file.
var ErrNoPositions = errors.New("no part of the board has a position")

// look of each state: a shape and a letter beside the colour, which is never the
// only thing that tells.
var look = map[State]struct{ letter, fill, line, shape, words string }{
	Contradicted:  {"!", "#b3001b", "#5c000e", "triangle", "contradicted: open this one"},
	NotChecked:    {"?", "#ffd166", "#7a5900", "square", "not checked: no evidence"},
	NotObservable: {"-", "#ffffff", "#767676", "circle", "not observable by software"},
	Present:       {"P", "#8ecae6", "#1d5b79", "diamond", "present: acknowledges only"},
	Inspected:     {"I", "#c7b9ff", "#4b3a9b", "hexagon", "shown by an inspection"},
	Matched:       {"M", "#2a9d5c", "#0f5130", "octagon", "matched by software"},
	NotFitted:     {"x", "none", "#a8a8a8", "cross", "not fitted"},
}

// The picture, in its own units: a panel for each side that has parts.
const (
	pictureWidth = 1400.0
	edge         = 40.0 // around a panel
	small, large = 3.2, 7.5
	medium       = 5.2 // what carries no chip and has a name, as a connector
	labelHeight  = 11.0
	labelWidth   = 6.4 // of one letter
	maxTitle     = 160
	headHeight   = 86.0
)

// panel is one side of the board.
type panel struct {
	side   string
	parts  []Place
	top    float64 // where it begins in the picture
	height float64
}

// drawing knows the scale of a picture.
type drawing struct {
	r                      *Report
	w                      *strings.Builder
	minX, minY, maxX, maxY float64
	scale                  float64
	taken                  map[[2]int][]box
}

type box struct{ x0, y0, x1, y1 float64 }

// SVG draws the board: both sides as one sees them, the bottom mirrored, with a
// mark for each part that has a position. It has no script and loads nothing.
func (r *Report) SVG(w io.Writer) error {
	d := &drawing{r: r, w: &strings.Builder{}, minX: math.Inf(1), minY: math.Inf(1), maxX: math.Inf(-1), maxY: math.Inf(-1)}
	panels := []*panel{{side: "top"}, {side: "bottom"}}
	without := 0
	for _, p := range r.Places {
		if p.Position == nil {
			without++
			continue
		}
		x, y := d.point(p)
		d.minX, d.maxX, d.minY, d.maxY = min(d.minX, x), max(d.maxX, x), min(d.minY, y), max(d.maxY, y)
		i := 0
		if p.Position.Side == "bottom" {
			i = 1
		}
		panels[i].parts = append(panels[i].parts, p)
	}
	panels = slices.DeleteFunc(panels, func(p *panel) bool { return len(p.parts) == 0 })
	if len(panels) == 0 {
		return ErrNoPositions
	}
	d.scale = (pictureWidth - 4*edge) / max(d.maxX-d.minX, (d.maxY-d.minY)*0.6, 1e-3)
	at := headHeight + edge
	for _, p := range panels {
		p.top, p.height = at, (d.maxY-d.minY)*d.scale+2*edge
		at += p.height + 2*edge
	}
	d.head(at, without)
	for _, p := range panels {
		d.panel(p)
	}
	d.w.WriteString("</svg>\n")
	if _, err := io.WriteString(w, d.w.String()); err != nil {
		return fmt.Errorf("board map: %w", err)
	}
	return nil
}

// point is a part's position in millimetres, where the unit is known.
func (d *drawing) point(p Place) (x, y float64) {
	if d.r.placement == nil {
		return p.Position.X, p.Position.Y
	}
	return d.r.placement.Millimetres(p.Position.X), d.r.placement.Millimetres(p.Position.Y)
}

func (d *drawing) line(format string, args ...any) { fmt.Fprintf(d.w, format+"\n", args...) }

// head writes title, description and legend.
func (d *drawing) head(height float64, without int) {
	c := d.r.Coverage
	name := strings.TrimSpace(strings.Join([]string{d.r.Board.Manufacturer, d.r.Board.PartNumber, d.r.Board.Revision}, " "))
	if name == "" {
		name = base(d.r.BOM)
	}
	var said []string
	for _, s := range States {
		if n := c.States[s]; n > 0 {
			said = append(said, fmt.Sprintf("%d %s", n, look[s].words))
		}
	}
	d.line(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %s %s" width="%s" height="%s" role="img" aria-labelledby="title desc" font-family="system-ui, sans-serif">`, num(pictureWidth), num(height), num(pictureWidth), num(height))
	d.line(`<title id="title">%s</title>`, escape("Board map of "+name))
	d.line(`<desc id="desc">%s</desc>`, escape("Places by state: "+strings.Join(said, "; ")+". The inspection list of the same report names each in words."))
	d.line(`<rect width="100%%" height="100%%" fill="#ffffff"/>`)
	d.line(`<text x="%s" y="30" font-size="20" font-weight="600">%s</text>`, num(edge), escape(cutText(name, 100)))
	sub := fmt.Sprintf("%d fitted, %d not fitted; software could confirm %d.%d %%", c.Fitted, c.NotFitted, c.Ratio/10, c.Ratio%10)
	if !d.r.Evidence {
		sub += "; no evidence was compared"
	}
	if without > 0 {
		sub += fmt.Sprintf("; %d without a position are not drawn", without)
	}
	d.line(`<text x="%s" y="52" font-size="13" fill="#333333">%s</text>`, num(edge), escape(sub))
	x := edge
	for _, s := range States {
		if c.States[s] == 0 {
			continue
		}
		text := fmt.Sprintf("%d %s", c.States[s], look[s].words)
		d.mark(s, x+8, 76, large, true, "")
		d.line(`<text x="%s" y="80" font-size="12" fill="#222222">%s</text>`, num(x+22), escape(text))
		x += 34 + labelWidth*float64(len(text))
	}
}

// panel draws one side. The outline is that of the placed parts, since a
// pick-and-place file has none of the board.
func (d *drawing) panel(p *panel) {
	d.taken = map[[2]int][]box{}
	words := map[string]string{"top": "Top, as seen from above", "bottom": "Bottom, as seen from below"}[p.side]
	wide := (d.maxX-d.minX)*d.scale + 2*edge
	d.line(`<g aria-label="%s">`, words)
	d.line(`<text x="%s" y="%s" font-size="14" font-weight="600">%s</text>`, num(edge), num(p.top-8), words)
	d.line(`<rect x="%s" y="%s" width="%s" height="%s" rx="8" fill="#f3f7f1" stroke="#8a9a86" stroke-dasharray="6 4"/>`, num(edge), num(p.top), num(wide), num(p.height))
	// What matters is drawn last, on top.
	slices.SortStableFunc(p.parts, func(a, b Place) int { return weight(b) - weight(a) })
	for _, x := range p.parts {
		px, py := d.project(p, x)
		size := sizeOf(x)
		d.mark(x.State, px, py, size, size == large, x.Designator+": "+x.Part+". "+string(x.State)+": "+x.Why)
		d.take(box{px - size, py - size, px + size, py + size})
	}
	for _, x := range slices.Backward(p.parts) {
		if !passive(x) || x.State == Contradicted {
			px, py := d.project(p, x)
			d.label(x, px, py)
		}
	}
	d.line(`</g>`)
}

func sizeOf(p Place) float64 {
	switch {
	case p.State == Contradicted || p.State == Matched:
		return large
	case passive(p):
		return small
	case !p.chip && (p.State == NotObservable || p.State == NotFitted):
		return medium
	}
	return large
}

// weight orders marks: the worst states and large parts have the largest.
func weight(p Place) int {
	w := 2 * slices.Index(States, p.State)
	if passive(p) {
		w += 20
	}
	return w
}

// passive reports a part that is drawn small and without its name.
func passive(p Place) bool {
	return slices.Contains([]string{"resistors", "capacitors", "inductors and beads", "diodes", "transistors", "test points and mechanics", "fuses"}, p.Class) &&
		(p.State == NotObservable || p.State == NotFitted || p.State == Inspected)
}

// project turns a position into the picture's; y grows downwards there.
func (d *drawing) project(p *panel, x Place) (px, py float64) {
	mx, my := d.point(x)
	px = edge*2 + (mx-d.minX)*d.scale
	if p.side == "bottom" {
		px = edge*2 + (d.maxX-mx)*d.scale
	}
	return px, p.top + edge + (d.maxY-my)*d.scale
}

// mark draws one part.
func (d *drawing) mark(s State, x, y, size float64, letter bool, title string) {
	l := look[s]
	d.w.WriteString("<g>")
	if title != "" {
		fmt.Fprintf(d.w, "<title>%s</title>", escape(cutText(title, maxTitle)))
	}
	style := fmt.Sprintf(`fill="%s" stroke="%s" stroke-width="1.2"`, l.fill, l.line)
	switch l.shape {
	case "circle":
		fmt.Fprintf(d.w, `<circle cx="%s" cy="%s" r="%s" %s/>`, num(x), num(y), num(size), style)
	case "cross":
		fmt.Fprintf(d.w, `<path d="M%s %sL%s %sM%s %sL%s %s" %s/>`, num(x-size*.7), num(y-size*.7), num(x+size*.7), num(y+size*.7), num(x-size*.7), num(y+size*.7), num(x+size*.7), num(y-size*.7), style)
	default:
		fmt.Fprintf(d.w, `<polygon points="%s" %s/>`, polygon(l.shape, x, y, size), style)
	}
	if letter && l.shape != "cross" {
		ink := "#111111"
		if s == Contradicted || s == Matched {
			ink = "#ffffff"
		}
		down := 3.4
		if l.shape == "triangle" {
			down = 5
		}
		fmt.Fprintf(d.w, `<text x="%s" y="%s" font-size="9.5" font-weight="700" text-anchor="middle" fill="%s" aria-hidden="true">%s</text>`, num(x), num(y+down), ink, l.letter)
	}
	d.w.WriteString("</g>\n")
}

// polygon lists the corners of a shape.
func polygon(shape string, x, y, size float64) string {
	corners, turn := 4, math.Pi/4
	switch shape {
	case "triangle":
		corners, turn, size = 3, -math.Pi/2, size*1.5
	case "diamond":
		corners, turn, size = 4, 0, size*1.25
	case "hexagon":
		corners, turn = 6, 0
	case "octagon":
		corners, turn = 8, math.Pi/8
	default:
		size *= 1.25
	}
	var out []string
	for i := range corners {
		a := turn + 2*math.Pi*float64(i)/float64(corners)
		out = append(out, num(x+size*math.Cos(a))+","+num(y+size*math.Sin(a)))
	}
	return strings.Join(out, " ")
}

// label writes a designator where it covers nothing: right, left, above, below or
// further away. Where there is no room, only what has to be opened keeps its name.
func (d *drawing) label(p Place, x, y float64) {
	w := labelWidth*float64(len(p.Designator)) + 2
	const gap = large + 2
	spots := []box{
		{x + gap, y - labelHeight/2, x + gap + w, y + labelHeight/2},
		{x - gap - w, y - labelHeight/2, x - gap, y + labelHeight/2},
		{x - w/2, y - gap - labelHeight, x + w/2, y - gap},
		{x - w/2, y + gap, x + w/2, y + gap + labelHeight},
	}
	for _, dx := range []float64{1, -1} {
		for _, dy := range []float64{-1, 1, -2.2, 2.2} {
			cx, cy := x+dx*(w/2+4), y+dy*(gap+labelHeight/2)
			spots = append(spots, box{cx - w/2, cy - labelHeight/2, cx + w/2, cy + labelHeight/2})
		}
	}
	i := slices.IndexFunc(spots, d.free)
	if i < 0 && p.State != Contradicted {
		return
	}
	b := spots[max(i, 0)]
	d.take(b)
	bold := ""
	if p.State == Contradicted {
		bold = ` font-weight="700"`
	}
	d.line(`<text x="%s" y="%s" font-size="10.5" fill="#111111" stroke="#ffffff" stroke-width="2" paint-order="stroke"%s>%s</text>`, num(b.x0+1), num(b.y1-2.2), bold, escape(p.Designator))
}

// cells of a grid keep the search for room short.
const gridCell = 40

func cells(b box) (out [][2]int) {
	for i := int(math.Floor(b.x0 / gridCell)); i <= int(math.Floor(b.x1/gridCell)); i++ {
		for j := int(math.Floor(b.y0 / gridCell)); j <= int(math.Floor(b.y1/gridCell)); j++ {
			out = append(out, [2]int{i, j})
		}
	}
	return out
}

func (d *drawing) take(b box) {
	for _, c := range cells(b) {
		d.taken[c] = append(d.taken[c], b)
	}
}

func (d *drawing) free(b box) bool {
	if b.x0 < 0 || b.x1 > pictureWidth {
		return false
	}
	for _, c := range cells(b) {
		if slices.ContainsFunc(d.taken[c], func(o box) bool { return b.x0 < o.x1 && o.x0 < b.x1 && b.y0 < o.y1 && o.y0 < b.y1 }) {
			return false
		}
	}
	return true
}

// num writes a number with one decimal, the same on every machine.
func num(v float64) string {
	return strings.TrimSuffix(fmt.Sprintf("%.1f", v+0), ".0")
}

// base is a file's name without its directory.
func base(s string) string { return s[strings.LastIndexAny(s, `/\`)+1:] }

func cutText(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}

// escape makes text safe in an SVG document; control and direction-changing
// characters are no text.
func escape(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '&':
			b.WriteString("&amp;")
		case r == '<':
			b.WriteString("&lt;")
		case r == '>':
			b.WriteString("&gt;")
		case r == '"':
			b.WriteString("&quot;")
		case unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == unicode.ReplacementChar || r >= 0xfffe && r <= 0xffff:
			b.WriteByte('?')
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// placementOf takes the positions that a bill of materials itself has, as one of
// IPC-2581 does.
func placementOf(b *board.BOM) *board.Placement {
	p := &board.Placement{Name: b.Name}
	for _, x := range b.Parts {
		if x.X != 0 || x.Y != 0 {
			p.Places = append(p.Places, board.Placed{Designator: x.Designator, X: x.X, Y: x.Y, Side: board.SideOf(x.Layer), Row: x.Row})
		}
	}
	if len(p.Places) == 0 {
		return nil
	}
	return p
}
