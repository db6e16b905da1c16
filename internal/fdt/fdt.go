// Package fdt reads flattened device trees (Devicetree Specification 0.4,
// chapter 5) and the images that U-Boot keeps in them (FIT; U-Boot,
// doc/usage/fit/source_file_format.rst).
//
// It proves what the tree says and where the images in it lie.
package fdt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrMalformed is wrapped by errors of Parse.
var ErrMalformed = errors.New("malformed device tree")

const (
	magic     = 0xd00dfeed
	headerLen = 40

	beginNode = 1
	endNode   = 2
	property  = 3
	nop       = 4
	end       = 9

	maxDepth = 32
	maxNodes = 1 << 16
)

// Node is one node of a tree.
type Node struct {
	Name       string
	Properties map[string][]byte
	Nodes      []*Node
}

// Tree is a device tree.
type Tree struct {
	Root *Node
	Size int // of the tree; what images lie behind it may be longer
}

// Begins reports whether b begins with a header of version 17.
func Begins(b []byte) bool {
	return len(b) >= headerLen && binary.BigEndian.Uint32(b) == magic && binary.BigEndian.Uint32(b[20:]) == 17
}

// parser walks over the tokens of the structure block.
type parser struct {
	b, text []byte
	pos     int
	nodes   int
}

// Parse reads a tree.
func Parse(b []byte) (*Tree, error) {
	if !Begins(b) {
		return nil, fmt.Errorf("%w: header", ErrMalformed)
	}
	be := binary.BigEndian
	size := be.Uint32(b[4:])
	if size < headerLen || uint64(size) > uint64(len(b)) {
		return nil, fmt.Errorf("%w: it has %d bytes and says %d", ErrMalformed, len(b), size)
	}
	b = b[:size]
	structure, text := be.Uint32(b[8:]), be.Uint32(b[12:])
	structureLen, textLen := be.Uint32(b[36:]), be.Uint32(b[32:])
	if uint64(structure)+uint64(structureLen) > uint64(size) || uint64(text)+uint64(textLen) > uint64(size) {
		return nil, fmt.Errorf("%w: blocks outside of it", ErrMalformed)
	}
	p := &parser{b: b[structure : structure+structureLen], text: b[text : text+textLen]}
	t, err := p.word()
	for err == nil && t == nop {
		t, err = p.word()
	}
	if err != nil || t != beginNode {
		return nil, fmt.Errorf("%w: it does not begin with a node", ErrMalformed)
	}
	root, err := p.node(0)
	if err != nil {
		return nil, err
	}
	return &Tree{Root: root, Size: int(size)}, nil
}

func (p *parser) word() (uint32, error) {
	if len(p.b)-p.pos < 4 {
		return 0, fmt.Errorf("%w: it ends too early", ErrMalformed)
	}
	p.pos += 4
	return binary.BigEndian.Uint32(p.b[p.pos-4:]), nil
}

// bytes takes n bytes and what fills them up to a word.
func (p *parser) bytes(n int) ([]byte, error) {
	if n > len(p.b)-p.pos {
		return nil, fmt.Errorf("%w: a value of %d bytes", ErrMalformed, n)
	}
	out := p.b[p.pos : p.pos+n]
	p.pos = min(p.pos+(n+3)&^3, len(p.b))
	return out, nil
}

func (p *parser) node(depth int) (*Node, error) {
	if p.nodes++; p.nodes > maxNodes || depth > maxDepth {
		return nil, fmt.Errorf("%w: too many nodes", ErrMalformed)
	}
	n := bytes.IndexByte(p.b[p.pos:], 0)
	if n < 0 {
		return nil, fmt.Errorf("%w: a name without end", ErrMalformed)
	}
	name, err := p.bytes(n + 1)
	if err != nil {
		return nil, err
	}
	out := &Node{Name: plain(name[:n]), Properties: map[string][]byte{}}
	for {
		t, err := p.word()
		if err != nil {
			return nil, err
		}
		switch t {
		case nop:
		case endNode:
			return out, nil
		case property:
			if err := p.property(out); err != nil {
				return nil, err
			}
		case beginNode:
			c, err := p.node(depth + 1)
			if err != nil {
				return nil, err
			}
			out.Nodes = append(out.Nodes, c)
		default:
			return nil, fmt.Errorf("%w: token %d", ErrMalformed, t)
		}
	}
}

func (p *parser) property(n *Node) error {
	length, err := p.word()
	if err != nil {
		return err
	}
	at, err := p.word()
	if err != nil {
		return err
	}
	if uint64(at) >= uint64(len(p.text)) {
		return fmt.Errorf("%w: a name at %d of %d", ErrMalformed, at, len(p.text))
	}
	name, _, _ := bytes.Cut(p.text[at:min(int(at)+128, len(p.text))], []byte{0})
	value, err := p.bytes(int(length))
	if err != nil {
		return err
	}
	n.Properties[plain(name)] = value
	return nil
}

// plain is a name with nothing in it that is not printable.
func plain(b []byte) string {
	return string(bytes.Map(func(r rune) rune {
		if r <= 0x20 || r > 0x7e || r == '/' {
			return '_'
		}
		return r
	}, b[:min(len(b), 128)]))
}

// Node returns the node of a name below n, or nil.
func (n *Node) Node(name string) *Node {
	for _, c := range n.Nodes {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// Text is a property that is a text, with nothing in it that is not printable.
func (n *Node) Text(name string) string {
	v, _, _ := bytes.Cut(n.Properties[name], []byte{0})
	return string(bytes.Map(func(r rune) rune {
		if r < 0x20 || r > 0x7e {
			return '?'
		}
		return r
	}, v[:min(len(v), 256)]))
}

// Number is a property of one cell.
func (n *Node) Number(name string) (uint32, bool) {
	v := n.Properties[name]
	if len(v) != 4 {
		return 0, false
	}
	return binary.BigEndian.Uint32(v), true
}

// Data returns the bytes of an image: in the tree, or behind it in b.
func (t *Tree) Data(n *Node, b []byte) ([]byte, error) {
	if v, ok := n.Properties["data"]; ok {
		return v, nil
	}
	size, ok := n.Number("data-size")
	if !ok {
		return nil, fmt.Errorf("%w: image %s has no data", ErrMalformed, n.Name)
	}
	at, ok := n.Number("data-position")
	start := uint64(at)
	if !ok {
		if at, ok = n.Number("data-offset"); !ok {
			return nil, fmt.Errorf("%w: image %s has no data", ErrMalformed, n.Name)
		}
		start = uint64(at) + uint64((t.Size+3)&^3)
	}
	if start+uint64(size) > uint64(len(b)) {
		return nil, fmt.Errorf("%w: image %s lies outside", ErrMalformed, n.Name)
	}
	return b[start : start+uint64(size)], nil
}

// Extent is how many bytes of b the tree takes with the images behind it.
func (t *Tree) Extent(b []byte) int {
	end := t.Size
	images := t.Root.Node("images")
	if images == nil {
		return end
	}
	for _, n := range images.Nodes {
		data, err := t.Data(n, b)
		if _, in := n.Properties["data"]; err == nil && !in {
			end = max(end, cap(b)-cap(data)+len(data))
		}
	}
	return end
}
