package report

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"fmt"
	"io"
	"strings"

	"rsc.io/qr"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/bom"
)

// Check writes a result for a person in front of the machine: the verdict to
// be read from two metres, where to look, a map of the board, what has to be
// looked at by hand, and a code to photograph. The verdict is told once more at
// the end, since a console without scrollback shows the last lines only.
func Check(w io.Writer, r *assay.Result, s Style) error {
	p := &printer{style: s, width: s.Width}
	if p.width <= 0 {
		p.width = 80
	}
	p.width = max(40, p.width)
	p.banner(r.Verdict)
	p.line("%s", p.paint(ansiBold, Machine(r)))
	p.wrap("", Sentence(r, p.style.Words))
	p.wrap("", p.say("Assurance %s: %s", r.Assurance.Level, r.Assurance.Statement))
	p.where(r)
	p.incidents(r)
	p.board(r)
	p.inspection(r)
	digest, err := Digest(r)
	if err != nil {
		return err
	}
	p.code(r, digest)
	p.inShort(r)
	if _, err := io.WriteString(w, p.b.String()); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}

// shortPlaces is how many places the end of a check names, so that verdict,
// machine and places stay on a screen of 25 lines.
const shortPlaces = 4

// inShort repeats what a person in front of the machine has to know.
func (p *printer) inShort(r *assay.Result) {
	p.banner(r.Verdict)
	p.line("%s", p.paint(ansiBold, oneLine(Machine(r), p.width)))
	places := places(r, p.style.Words)
	for _, pl := range places[:min(len(places), shortPlaces)] {
		p.line("%s", oneLine(p.say("Look at %s: %s", pl.at, pl.what), p.width))
	}
	if more := len(places) - shortPlaces; more > 0 {
		p.line("%s", p.say("and at %d more places, named above", more))
	}
}

// oneLine shortens a text to one line.
func oneLine(s string, width int) string {
	lines := fold(s, width)
	if len(lines) < 2 {
		return s
	}
	return fold(s, width-4)[0] + " ..."
}

// Digest is the SHA-256 of the result in JSON, in hexadecimal: it names this
// very result.
func Digest(r *assay.Result) (string, error) {
	var b bytes.Buffer
	if err := JSON(&b, r); err != nil {
		return "", err
	}
	return fmt.Sprintf("%x", sha256.Sum256(b.Bytes())), nil
}

// physicalOnly is how the comparison says that no bus can show a part.
const physicalOnly = "physical-only"

// Inspection lists what the manifest declares and only a person can see, in the
// order of a walk over the board, with positions where the manifest has them.
func Inspection(r *assay.Result) []string {
	var out []string
	for _, u := range r.ToInspect {
		text := cmp.Or(u.Designator, string(u.Class)+" "+u.Subject)
		if p := u.Position; p != (bom.Position{}) {
			text += fmt.Sprintf(" (%s x %.1f mm, y %.1f mm)", cmp.Or(p.Side, "board"), float64(p.X)/1000, float64(p.Y)/1000)
		}
		if u.Part != "" {
			text += ": " + u.Part
		}
		out = append(out, text)
	}
	if len(out) > 0 {
		return out
	}
	for _, n := range r.NotChecked {
		if strings.Contains(n.Reason, physicalOnly) {
			out = append(out, n.What)
		}
	}
	return out
}

func (p *printer) inspection(r *assay.Result) {
	list := Inspection(r)
	if len(list) == 0 {
		return
	}
	p.heading(p.say("To be looked at by hand: no bus shows these"))
	for _, l := range list {
		p.wrap("  [ ] ", l)
	}
	p.line("")
	p.line("  %s ____________________   %s ____________", p.say("inspected by"), p.say("date"))
}

// code draws verdict, serial number and digest as a QR code, two modules per
// character, dark on light so that a camera reads it from any terminal.
func (p *printer) code(r *assay.Result, digest string) {
	text := CodeText(r, digest)
	p.heading(p.say("Result %s", digest))
	c, err := qr.Encode(text, qr.L)
	if err != nil || c.Size+8 > p.width {
		p.wrap("  ", text)
		return
	}
	const quiet = 2
	for y := -quiet; y < c.Size+quiet; y += 2 {
		var b strings.Builder
		for x := -quiet; x < c.Size+quiet; x++ {
			switch upper, lower := c.Black(x, y), c.Black(x, y+1); {
			case upper && lower:
				b.WriteByte(' ')
			case upper:
				b.WriteRune('\u2584')
			case lower:
				b.WriteRune('\u2580')
			default:
				b.WriteRune('\u2588')
			}
		}
		line := b.String()
		if p.style.Color {
			line = "\x1b[97;40m" + line + ansiReset
		}
		p.line("  %s", line)
	}
}

// CodeText is what the QR code says. It keeps to the characters of the
// alphanumeric mode, which makes the code small (ISO/IEC 18004, 7.3.4).
func CodeText(r *assay.Result, digest string) string {
	serial := strings.Map(func(c rune) rune {
		if strings.ContainsRune("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:", c) {
			return c
		}
		return '-'
	}, strings.ToUpper(Plain(r.Platform.Serial)))
	if len(serial) > 40 {
		serial = serial[:40]
	}
	return fmt.Sprintf("ASSAY %s %s %s", strings.ToUpper(string(r.Verdict)), serial, strings.ToUpper(digest))
}
