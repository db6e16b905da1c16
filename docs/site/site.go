// Package site makes a small static site of the documentation: pages that need no
// script and nothing from elsewhere, to be served by the program or written to a
// directory.
package site

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/text"
)

// Page is one page of the documentation.
type Page struct {
	Name    string // path without its ending, as people ask for it: "start/technician"
	Title   string // its first heading
	Source  string // Markdown
	Section string // of the list of pages; "" is not listed
}

// Site is all pages, in the order of their list, and the files beside them.
type Site struct {
	Pages []Page
	files fs.FS
	md    goldmark.Markdown
}

// section is a part of the list of pages. Names that end in "/" are all pages below.
type section struct {
	title string
	pages []string
}

var sections = []section{
	{"Five minutes", []string{"start/technician", "start/procurement", "start/auditor"}},
	{"How to", []string{"howto/"}},
	{"Guides", []string{"guide-"}},
	{"Reference", []string{"commands", "findings", "policies", "formats/", "api", "dependencies"}},
	{"Explanation", []string{"trust", "what-software-sees", "what-a-pass-means", "the-case", "threat-model"}},
	{"Measured", []string{"efficacy", "performance", "scale"}},
	{"For developers", []string{"architecture", "decisions/"}},
}

// New reads the pages of files, and those that the program made, by name.
func New(files fs.FS, made map[string]string) (*Site, error) {
	s := &Site{files: files, md: goldmark.New(goldmark.WithExtensions(extension.Table, extension.Strikethrough), goldmark.WithParserOptions(parser.WithAutoHeadingID()))}
	err := fs.WalkDir(files, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || path.Ext(p) != ".md" {
			return err
		}
		raw, err := fs.ReadFile(files, p)
		if err != nil {
			return err
		}
		s.add(nameOf(p), string(raw))
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("documentation: %w", err)
	}
	for name, source := range made {
		s.add(name, source)
	}
	slices.SortStableFunc(s.Pages, func(a, b Page) int {
		ai, ap := place(a.Name)
		bi, bp := place(b.Name)
		switch {
		case ai != bi:
			return ai - bi
		case ap != bp:
			return ap - bp
		}
		return strings.Compare(a.Name, b.Name)
	})
	return s, nil
}

// nameOf turns a file's path into a page's name; a folder's README is the folder.
func nameOf(p string) string {
	return strings.TrimSuffix(strings.TrimSuffix(p, ".md"), "/README")
}

func (s *Site) add(name, source string) {
	p := Page{Name: name, Source: source, Title: name}
	for line := range strings.Lines(source) {
		if t, ok := strings.CutPrefix(line, "# "); ok {
			p.Title = strings.TrimSpace(t)
			break
		}
	}
	if i, _ := place(name); i < len(sections) {
		p.Section = sections[i].title
	}
	s.Pages = append(s.Pages, p)
}

// place is where a page stands in the list: its section, and its place there.
func place(name string) (in, at int) {
	for i, sec := range sections {
		for j, want := range sec.pages {
			if name == want || name+"/" == want || (strings.HasSuffix(want, "/") || strings.HasSuffix(want, "-")) && strings.HasPrefix(name, want) {
				return i, j
			}
		}
	}
	return len(sections), 0
}

// ErrNoPage is returned when no page has the name.
var ErrNoPage = errors.New("no such page")

// Page finds a page by its name, by the end of it, or as the guide to something.
func (s *Site) Page(name string) (Page, error) {
	name = strings.TrimSuffix(strings.TrimSuffix(strings.TrimPrefix(name, "docs/"), "/"), ".md")
	for _, fits := range []func(string) bool{
		func(n string) bool { return n == name },
		func(n string) bool { return strings.HasSuffix(n, "/"+name) },
		func(n string) bool { return n == "guide-"+name },
	} {
		if i := slices.IndexFunc(s.Pages, func(p Page) bool { return fits(p.Name) }); i >= 0 {
			return s.Pages[i], nil
		}
	}
	return Page{}, fmt.Errorf("%q: %w", name, ErrNoPage)
}

// Find lists the lines that hold a word, ignoring case.
func (s *Site) Find(word string) (out []Line) {
	low := strings.ToLower(word)
	for _, p := range s.Pages {
		n := 0
		for line := range strings.Lines(p.Source) {
			if n++; strings.Contains(strings.ToLower(line), low) {
				out = append(out, Line{p.Name, n, strings.TrimSpace(line)})
			}
		}
	}
	return out
}

// Line is one line of a page.
type Line struct {
	Page   string
	Number int
	Text   string
}

// body renders a page. Links to pages become links to their files, and so do names of
// pages in code, as docs/trust.md.
func (s *Site) body(p Page) (string, error) {
	source := []byte(p.Source)
	doc := s.md.Parser().Parse(text.NewReader(source))
	var spans []*ast.CodeSpan // changed when the walk is over, which follows siblings
	err := ast.Walk(doc, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		switch n := n.(type) {
		case *ast.Link:
			n.Destination = []byte(s.target(p, string(n.Destination)))
		case *ast.CodeSpan:
			spans = append(spans, n)
		}
		return ast.WalkContinue, nil
	})
	if err != nil {
		return "", fmt.Errorf("%s: %w", p.Name, err)
	}
	for _, n := range spans {
		s.linkCode(p, n, source)
	}
	var b bytes.Buffer
	if err := s.md.Renderer().Render(&b, source, doc); err != nil {
		return "", fmt.Errorf("%s: %w", p.Name, err)
	}
	return b.String(), nil
}

// linkCode puts a link around the name of a page, or of a folder of pages.
func (s *Site) linkCode(p Page, n *ast.CodeSpan, source []byte) {
	if n.Parent() == nil || n.Parent().Kind() == ast.KindLink {
		return
	}
	var code strings.Builder
	for c := n.FirstChild(); c != nil; c = c.NextSibling() {
		if t, ok := c.(*ast.Text); ok {
			code.Write(t.Value(source))
		}
	}
	name, ours := strings.CutPrefix(code.String(), "docs/")
	if !ours {
		return
	}
	to, err := s.Page(nameOf(strings.TrimSuffix(name, "/")))
	if err != nil || to.Name == p.Name {
		return
	}
	link := ast.NewLink()
	link.Destination = []byte(relative(p.Name, fileOf(to.Name)))
	n.Parent().ReplaceChild(n.Parent(), n, link)
	link.AppendChild(link, n)
}

// target turns a link as it is in the repository into one of the site.
func (s *Site) target(p Page, to string) string {
	if to == "" || strings.Contains(to, ":") || strings.HasPrefix(to, "#") {
		return to
	}
	file, fragment, _ := strings.Cut(to, "#")
	if fragment != "" {
		fragment = "#" + fragment
	}
	file = path.Join(path.Dir(p.file()), file)
	if path.Ext(file) != ".md" {
		return relative(p.Name, file) + fragment
	}
	return relative(p.Name, fileOf(nameOf(file))) + fragment
}

// file is where a page's source stands, which its links begin at.
func (p Page) file() string {
	switch p.Name {
	case "formats", "decisions":
		return p.Name + "/README.md"
	}
	return p.Name + ".md"
}

func fileOf(name string) string { return name + ".html" }

// relative is the way from a page to a file of the site.
func relative(page, file string) string {
	return strings.Repeat("../", strings.Count(page, "/")) + file
}
