// Package xmltree reads XML documents that somebody signed, and writes them in
// canonical form (Canonical XML 1.0 and 1.1, Exclusive XML Canonicalization
// 1.0).
//
// It reads a subset on purpose: documents in UTF-8 without a document type
// declaration, so that there are no entities to expand, no default attributes
// and nothing to fetch. It resolves namespaces and refuses what is not well
// formed by "XML 1.0" and "Namespaces in XML 1.0". encoding/xml is not used: it
// does not normalise attribute values, and accepts names and references that
// other readers understand otherwise.
package xmltree

import (
	"errors"
	"fmt"
)

// The reasons for which a document is refused.
var (
	ErrMalformed = errors.New("malformed XML")
	ErrDoctype   = errors.New("document type declaration refused: no entity is expanded and nothing is fetched")
	ErrLimit     = errors.New("XML exceeds a limit")
)

// Limits bound what a document may hold.
type Limits struct {
	Bytes      int // of the document
	Depth      int // of nested elements
	Nodes      int
	Attributes int // of one element, namespace declarations included
	Value      int // bytes of one attribute value or one text
}

// DefaultLimits have room for manifests of thousands of files.
func DefaultLimits() Limits {
	return Limits{Bytes: 8 << 20, Depth: 64, Nodes: 200_000, Attributes: 128, Value: 1 << 20}
}

// Kind is what a node is.
type Kind uint8

// Kinds of nodes. References and CDATA sections are part of the text that they
// stand in.
const (
	Element Kind = iota
	Text
	Comment
	Instruction
)

// Name is the name of an element or an attribute.
type Name struct {
	Prefix string
	Local  string
	Space  string // URI that the prefix is bound to
}

// Attr is an attribute that declares no namespace.
type Attr struct {
	Name  Name
	Value string
}

// Declaration binds a prefix, empty for the default namespace.
type Declaration struct {
	Prefix string
	URI    string
}

// Node is a node of a document. Of an instruction, Local is the target.
type Node struct {
	Kind     Kind
	Name     Name
	Attrs    []Attr
	Declares []Declaration
	Text     string
	Children []*Node
	Parent   *Node // nil at the top
	Offset   int   // in the document as read
}

// Document is a document as read.
type Document struct {
	Root  *Node
	Nodes []*Node // the root with the comments and instructions around it
}

// Attr returns the value of an attribute by namespace and local name.
func (n *Node) Attr(space, local string) (string, bool) {
	for _, a := range n.Attrs {
		if a.Name.Space == space && a.Name.Local == local {
			return a.Value, true
		}
	}
	return "", false
}

// Is reports whether a node is the element of a name.
func (n *Node) Is(space, local string) bool {
	return n.Kind == Element && n.Name.Space == space && n.Name.Local == local
}

// Elements returns the elements among the children.
func (n *Node) Elements() []*Node {
	var out []*Node
	for _, c := range n.Children {
		if c.Kind == Element {
			out = append(out, c)
		}
	}
	return out
}

// Content returns the text of an element that holds nothing but text.
func (n *Node) Content() (string, error) {
	switch {
	case len(n.Children) == 0:
		return "", nil
	case len(n.Children) == 1 && n.Children[0].Kind == Text:
		return n.Children[0].Text, nil
	}
	return "", fmt.Errorf("%w: offset %d: <%s> holds more than text", ErrMalformed, n.Offset, n.Name.Local)
}

// Walk visits a node and everything below it in document order.
func (n *Node) Walk(visit func(*Node) error) error {
	if err := visit(n); err != nil {
		return err
	}
	for _, c := range n.Children {
		if err := c.Walk(visit); err != nil {
			return err
		}
	}
	return nil
}

// StripSpace removes every text that is white space only and reports whether
// there was any.
func (d *Document) StripSpace() bool { return d.Root.stripSpace() }

func (n *Node) stripSpace() bool {
	kept, found := n.Children[:0], false
	for _, c := range n.Children {
		if c.Kind == Text && blank(c.Text) {
			found = true
			continue
		}
		found = c.stripSpace() || found
		kept = append(kept, c)
	}
	n.Children = kept
	return found
}

func blank(s string) bool {
	for i := range len(s) {
		if !isSpace(s[i]) {
			return false
		}
	}
	return true
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }
