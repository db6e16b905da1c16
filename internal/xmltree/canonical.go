package xmltree

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrCanonical says that a document has no canonical form of a method.
var ErrCanonical = errors.New("no canonical form")

// Method is a way to write a document in canonical form.
type Method struct {
	Exclusive bool     // Exclusive XML Canonicalization 1.0
	Version11 bool     // Canonical XML 1.1
	Comments  bool     // are kept
	Prefixes  []string // of an exclusive form, that are written as in an inclusive one; "" is the default
}

// Document writes the canonical form of a document without one of its elements.
// Without may be nil.
func (m Method) Document(d *Document, without *Node) ([]byte, error) {
	w := &writer{method: m, without: without, shown: map[string][]string{}}
	behind := false
	for _, n := range d.Nodes {
		switch {
		case n.Kind == Element:
			if err := w.element(n, true); err != nil {
				return nil, err
			}
			behind = true
		case n.Kind == Comment && !m.Comments:
		case behind:
			w.buf.WriteByte('\n')
			w.remark(n)
		default:
			w.remark(n)
			w.buf.WriteByte('\n')
		}
	}
	return w.buf.Bytes(), nil
}

// Element writes the canonical form of an element and of what is in it, in the
// context of its document, without one of the elements in it.
func (m Method) Element(n, without *Node) ([]byte, error) {
	w := &writer{method: m, without: without, shown: map[string][]string{}}
	err := w.element(n, true)
	return w.buf.Bytes(), err
}

type writer struct {
	method  Method
	without *Node
	buf     bytes.Buffer
	shown   map[string][]string // what elements written so far bind each prefix to, innermost last
}

func (w *writer) element(n *Node, apex bool) error {
	decls, err := w.declarations(n, apex)
	if err != nil {
		return err
	}
	attrs, err := w.attributes(n, apex)
	if err != nil {
		return err
	}
	w.buf.WriteByte('<')
	w.name(n.Name)
	for _, d := range decls {
		w.shown[d.Prefix] = append(w.shown[d.Prefix], d.URI)
		w.buf.WriteString(" xmlns")
		if d.Prefix != "" {
			w.buf.WriteByte(':')
			w.buf.WriteString(d.Prefix)
		}
		w.value(d.URI)
	}
	for _, a := range attrs {
		w.buf.WriteByte(' ')
		w.name(a.Name)
		w.value(a.Value)
	}
	w.buf.WriteByte('>')
	for _, c := range n.Children {
		switch {
		case c == w.without, c.Kind == Comment && !w.method.Comments:
		case c.Kind == Element:
			if err := w.element(c, false); err != nil {
				return err
			}
		case c.Kind == Text:
			textEscapes.WriteString(&w.buf, c.Text)
		default:
			w.remark(c)
		}
	}
	w.buf.WriteString("</")
	w.name(n.Name)
	w.buf.WriteByte('>')
	for _, d := range decls {
		w.shown[d.Prefix] = w.shown[d.Prefix][:len(w.shown[d.Prefix])-1]
	}
	return nil
}

// declarations are the namespaces that an element is written with, in order.
func (w *writer) declarations(n *Node, apex bool) ([]Declaration, error) {
	want := map[string]string{}
	if w.method.Exclusive {
		w.visible(n, apex, want)
	} else {
		if apex {
			inherited(n.Parent, want)
		}
		for _, d := range n.Declares {
			want[d.Prefix] = d.URI
		}
	}
	var out []Declaration
	for prefix, uri := range want {
		shown := ""
		if s := w.shown[prefix]; len(s) > 0 {
			shown = s[len(s)-1]
		}
		if shown == uri || prefix == "xml" {
			continue // includes a default namespace of none where none was written
		}
		if uri != "" && !strings.Contains(strings.SplitN(uri, "/", 2)[0], ":") {
			return nil, fmt.Errorf("%w: offset %d: namespace %.80q is relative", ErrCanonical, n.Offset, uri)
		}
		out = append(out, Declaration{prefix, uri})
	}
	slices.SortFunc(out, func(a, b Declaration) int { return cmp.Compare(a.Prefix, b.Prefix) })
	return out, nil
}

// inherited adds what the ancestors declare, outermost first.
func inherited(n *Node, want map[string]string) {
	if n == nil {
		return
	}
	inherited(n.Parent, want)
	for _, d := range n.Declares {
		want[d.Prefix] = d.URI
	}
}

// visible adds the namespaces of the names that an element is written with, and
// of the prefixes that the method lists (Exclusive XML Canonicalization, 3).
func (w *writer) visible(n *Node, apex bool, want map[string]string) {
	if len(w.method.Prefixes) > 0 {
		all := map[string]string{}
		if apex {
			inherited(n.Parent, all)
		}
		for _, d := range n.Declares {
			all[d.Prefix] = d.URI
		}
		for _, p := range w.method.Prefixes {
			if uri, ok := all[p]; ok {
				want[p] = uri
			}
		}
	}
	want[n.Name.Prefix] = n.Name.Space
	for _, a := range n.Attrs {
		if a.Name.Prefix != "" {
			want[a.Name.Prefix] = a.Name.Space
		}
	}
}

// attributes are those of an element in order, at the apex of an inclusive form
// with what the omitted ancestors say in the namespace of XML (Canonical XML
// 1.0, 2.4; 1.1, 2.4).
func (w *writer) attributes(n *Node, apex bool) ([]Attr, error) {
	out := slices.Clone(n.Attrs)
	for p := n.Parent; apex && !w.method.Exclusive && p != nil; p = p.Parent {
		for _, a := range p.Attrs {
			if a.Name.Space != xmlSpace || slices.ContainsFunc(out, func(o Attr) bool { return o.Name.Space == xmlSpace && o.Name.Local == a.Name.Local }) {
				continue
			}
			switch {
			case !w.method.Version11, a.Name.Local == "lang", a.Name.Local == "space":
				out = append(out, a)
			case a.Name.Local == "base":
				return nil, fmt.Errorf("%w: offset %d: xml:base above a part in Canonical XML 1.1", ErrCanonical, p.Offset)
			}
		}
	}
	slices.SortFunc(out, func(a, b Attr) int {
		return cmp.Or(cmp.Compare(a.Name.Space, b.Name.Space), cmp.Compare(a.Name.Local, b.Name.Local))
	})
	return out, nil
}

func (w *writer) name(n Name) {
	if n.Prefix != "" {
		w.buf.WriteString(n.Prefix)
		w.buf.WriteByte(':')
	}
	w.buf.WriteString(n.Local)
}

var (
	textEscapes  = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "\r", "&#xD;")
	valueEscapes = strings.NewReplacer("&", "&amp;", "<", "&lt;", `"`, "&quot;", "\t", "&#x9;", "\n", "&#xA;", "\r", "&#xD;")
)

// EscapeText returns text as a canonical form writes it.
func EscapeText(s string) string { return textEscapes.Replace(s) }

// EscapeValue returns the value of an attribute as a canonical form writes it.
func EscapeValue(s string) string { return valueEscapes.Replace(s) }

func (w *writer) value(s string) {
	w.buf.WriteString(`="`)
	valueEscapes.WriteString(&w.buf, s)
	w.buf.WriteByte('"')
}

func (w *writer) remark(n *Node) {
	if n.Kind == Comment {
		w.buf.WriteString("<!--" + n.Text + "-->")
		return
	}
	w.buf.WriteString("<?" + n.Name.Local)
	if n.Text != "" {
		w.buf.WriteString(" " + n.Text)
	}
	w.buf.WriteString("?>")
}
