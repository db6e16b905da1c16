package xmltree

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"
)

const (
	xmlSpace   = "http://www.w3.org/XML/1998/namespace"
	xmlnsSpace = "http://www.w3.org/2000/xmlns/"
)

// maxName bounds a name; maxReference a reference to a character.
const (
	maxName      = 1024
	maxReference = 12
)

type parser struct {
	b      []byte
	at     int
	limits Limits
	nodes  int
	depth  int
	scope  map[string][]string // what each prefix is bound to, innermost last
}

// Parse reads a document.
func Parse(b []byte, limits Limits) (*Document, error) {
	if len(b) > limits.Bytes {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrLimit, len(b), limits.Bytes)
	}
	if !utf8.Valid(b) {
		return nil, fmt.Errorf("%w: not UTF-8", ErrMalformed)
	}
	p := &parser{b: bytes.TrimPrefix(b, []byte("\uFEFF")), limits: limits, scope: map[string][]string{"xml": {xmlSpace}, "xmlns": {xmlnsSpace}}}
	if err := p.declaration(); err != nil {
		return nil, err
	}
	d := &Document{}
	for p.space(); p.at < len(p.b); p.space() {
		n, err := p.outside(d.Root != nil)
		if err != nil {
			return nil, err
		}
		d.Nodes = append(d.Nodes, n)
		if n.Kind == Element {
			d.Root = n
		}
	}
	if d.Root == nil {
		return nil, p.bad("no element")
	}
	return d, nil
}

func (p *parser) bad(format string, args ...any) error {
	return fmt.Errorf("%w: offset %d: %s", ErrMalformed, p.at, fmt.Sprintf(format, args...))
}

func (p *parser) over(what string, limit int) error {
	return fmt.Errorf("%w: offset %d: %s, at most %d", ErrLimit, p.at, what, limit)
}

func (p *parser) has(s string) bool { return bytes.HasPrefix(p.b[p.at:], []byte(s)) }

func (p *parser) skip(s string) bool {
	if p.has(s) {
		p.at += len(s)
		return true
	}
	return false
}

// space skips white space and reports whether there was any.
func (p *parser) space() bool {
	from := p.at
	for p.at < len(p.b) && isSpace(p.b[p.at]) {
		p.at++
	}
	return p.at > from
}

// until returns what stands before an end and goes behind it.
func (p *parser) until(end, what string) (string, error) {
	i := bytes.Index(p.b[p.at:], []byte(end))
	if i < 0 {
		return "", p.bad("%s does not end", what)
	}
	s := p.b[p.at : p.at+i]
	if len(s) > p.limits.Value {
		return "", p.over(what, p.limits.Value)
	}
	if err := p.characters(s); err != nil {
		return "", err
	}
	p.at += i + len(end)
	return lineEnds(string(s)), nil
}

// lineEnds makes every end of a line a line feed (XML 1.0, 2.11).
func lineEnds(s string) string {
	if !strings.Contains(s, "\r") {
		return s
	}
	return strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n")
}

// declaration reads <?xml ...?>, whose encoding has to be the one that the
// document is in.
func (p *parser) declaration() error {
	if !p.has("<?xml") || len(p.b) < 6 || !isSpace(p.b[5]) {
		return nil
	}
	p.at += 5
	for {
		spaced := p.space()
		if p.skip("?>") {
			return nil
		}
		if !spaced {
			return p.bad("XML declaration")
		}
		name, err := p.name()
		if err != nil {
			return err
		}
		v, err := p.assigned()
		if err != nil {
			return err
		}
		switch {
		case name == "version" && v == "1.0", name == "standalone" && (v == "yes" || v == "no"):
		case name == "encoding" && (strings.EqualFold(v, "UTF-8") || strings.EqualFold(v, "US-ASCII") || strings.EqualFold(v, "ASCII")):
		default:
			return p.bad("XML declaration: %.20s=%.40q is not supported", name, v)
		}
	}
}

// outside reads one thing outside of the document element.
func (p *parser) outside(have bool) (*Node, error) {
	switch {
	case p.has("<!--"), p.has("<?"):
		return p.remark()
	case p.has("<!DOCTYPE"), p.has("<!doctype"):
		return nil, fmt.Errorf("offset %d: %w", p.at, ErrDoctype)
	case have:
		return nil, p.bad("data behind the document element")
	case p.has("<"):
		return p.element(nil)
	}
	return nil, p.bad("text outside of the document element")
}

func (p *parser) node(kind Kind, parent *Node) (*Node, error) {
	if p.nodes++; p.nodes > p.limits.Nodes {
		return nil, p.over("nodes", p.limits.Nodes)
	}
	return &Node{Kind: kind, Parent: parent, Offset: p.at}, nil
}

// remark reads a comment or an instruction.
func (p *parser) remark() (*Node, error) {
	n, err := p.node(Comment, nil)
	if err != nil {
		return nil, err
	}
	if p.skip("<!--") {
		if n.Text, err = p.until("--", "comment"); err != nil {
			return nil, err
		}
		if !p.skip(">") {
			return nil, p.bad("-- in a comment")
		}
		return n, nil
	}
	p.at += len("<?")
	n.Kind = Instruction
	if n.Name.Local, err = p.name(); err != nil {
		return nil, err
	}
	if strings.EqualFold(n.Name.Local, "xml") || strings.Contains(n.Name.Local, ":") {
		return nil, p.bad("instruction named %q", n.Name.Local)
	}
	if p.skip("?>") {
		return n, nil
	}
	if !p.space() {
		return nil, p.bad("instruction")
	}
	n.Text, err = p.until("?>", "instruction")
	return n, err
}

func (p *parser) element(parent *Node) (*Node, error) {
	if p.depth++; p.depth > p.limits.Depth {
		return nil, p.over("nested elements", p.limits.Depth)
	}
	n, err := p.node(Element, parent)
	if err != nil {
		return nil, err
	}
	p.at++ // <
	name, err := p.name()
	if err != nil {
		return nil, err
	}
	empty, err := p.attributes(n)
	if err != nil {
		return nil, err
	}
	if err := p.resolve(n, name); err != nil {
		return nil, err
	}
	if !empty {
		if err := p.content(n, name); err != nil {
			return nil, err
		}
	}
	for _, d := range n.Declares {
		p.scope[d.Prefix] = p.scope[d.Prefix][:len(p.scope[d.Prefix])-1]
	}
	p.depth--
	return n, nil
}

// attributes reads a tag behind the name of the element and reports whether the
// element is empty. Prefixes are not resolved: declarations may follow.
func (p *parser) attributes(n *Node) (empty bool, err error) {
	for {
		spaced := p.space()
		switch {
		case p.skip("/>"):
			return true, nil
		case p.skip(">"):
			return false, nil
		case !spaced:
			return false, p.bad("tag")
		case len(n.Attrs)+len(n.Declares) >= p.limits.Attributes:
			return false, p.over("attributes of an element", p.limits.Attributes)
		}
		name, err := p.name()
		if err != nil {
			return false, err
		}
		v, err := p.assigned()
		if err != nil {
			return false, err
		}
		prefix, local, err := p.split(name)
		if err != nil {
			return false, err
		}
		switch {
		case prefix == "xmlns":
			err = p.declare(n, local, v)
		case prefix == "" && local == "xmlns":
			err = p.declare(n, "", v)
		default:
			n.Attrs = append(n.Attrs, Attr{Name{Prefix: prefix, Local: local}, v})
		}
		if err != nil {
			return false, err
		}
	}
}

// declare binds a prefix (Namespaces in XML 1.0, 3 and 5).
func (p *parser) declare(n *Node, prefix, uri string) error {
	for _, d := range n.Declares {
		if d.Prefix == prefix {
			return p.bad("prefix %q is declared twice", prefix)
		}
	}
	switch {
	case prefix == "xmlns", uri == xmlnsSpace, (prefix == "xml") != (uri == xmlSpace):
		return p.bad("prefix %q may not be bound to %.80q", prefix, uri)
	case uri == "" && prefix != "":
		return p.bad("prefix %q is bound to nothing", prefix)
	}
	n.Declares = append(n.Declares, Declaration{prefix, uri})
	return nil
}

// resolve gives the names of an element and of its attributes their namespaces.
func (p *parser) resolve(n *Node, name string) error {
	for _, d := range n.Declares {
		p.scope[d.Prefix] = append(p.scope[d.Prefix], d.URI)
	}
	prefix, local, err := p.split(name)
	if err != nil {
		return err
	}
	if n.Name, err = p.bind(prefix, local); err != nil {
		return err
	}
	seen := map[Name]bool{}
	for i := range n.Attrs {
		a := &n.Attrs[i]
		if a.Name.Prefix != "" { // the default namespace is none of attributes
			if a.Name, err = p.bind(a.Name.Prefix, a.Name.Local); err != nil {
				return err
			}
		}
		key := Name{Local: a.Name.Local, Space: a.Name.Space}
		if seen[key] {
			return p.bad("attribute %q stands twice", a.Name.Local)
		}
		seen[key] = true
	}
	return nil
}

func (p *parser) bind(prefix, local string) (Name, error) {
	n := Name{Prefix: prefix, Local: local}
	if s := p.scope[prefix]; len(s) > 0 {
		n.Space = s[len(s)-1]
		return n, nil
	}
	if prefix != "" {
		return n, p.bad("prefix %q is not declared", prefix)
	}
	return n, nil
}

func (p *parser) content(n *Node, name string) error {
	for {
		switch {
		case p.at >= len(p.b):
			return p.bad("<%.80s> does not end", name)
		case p.skip("</"):
			end, err := p.name()
			if err != nil {
				return err
			}
			p.space()
			if end != name || !p.skip(">") {
				return p.bad("<%.80s> ends with </%.80s>", name, end)
			}
			return nil
		case p.has("<!--"), p.has("<?"):
			c, err := p.remark()
			if err != nil {
				return err
			}
			c.Parent = n
			n.Children = append(n.Children, c)
		case p.has("<") && !p.has("<![CDATA["):
			if p.has("<!") {
				return p.bad("declaration inside of the document")
			}
			c, err := p.element(n)
			if err != nil {
				return err
			}
			n.Children = append(n.Children, c)
		default:
			c, err := p.text(n)
			if err != nil {
				return err
			}
			n.Children = append(n.Children, c)
		}
	}
}

// text reads text with its references and CDATA sections as one node.
func (p *parser) text(parent *Node) (*Node, error) {
	n, err := p.node(Text, parent)
	if err != nil {
		return nil, err
	}
	var out strings.Builder
	for p.at < len(p.b) && out.Len() <= p.limits.Value {
		switch c := p.b[p.at]; {
		case p.skip("<![CDATA["):
			s, err := p.until("]]>", "CDATA section")
			if err != nil {
				return nil, err
			}
			out.WriteString(s)
		case c == '<':
			n.Text = out.String()
			return n, nil
		case c == '&':
			r, err := p.reference()
			if err != nil {
				return nil, err
			}
			out.WriteRune(r)
		default:
			end := bytes.IndexAny(p.b[p.at:], "<&")
			if end < 0 {
				end = len(p.b) - p.at
			}
			run := p.b[p.at : p.at+end]
			if bytes.Contains(run, []byte("]]>")) {
				return nil, p.bad("]]> in text")
			}
			if err := p.characters(run); err != nil {
				return nil, err
			}
			out.WriteString(lineEnds(string(run)))
			p.at += end
		}
	}
	if out.Len() > p.limits.Value {
		return nil, p.over("bytes of text", p.limits.Value)
	}
	n.Text = out.String()
	return n, nil
}
