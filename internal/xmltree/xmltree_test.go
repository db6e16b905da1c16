package xmltree

import (
	"bytes"
	"fmt"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func parse(t testing.TB, s string) *Document {
	t.Helper()
	d, err := Parse([]byte(s), DefaultLimits())
	require.NoError(t, err)
	return d
}

// bomb is a document type with entities of entities.
func bomb() string {
	var b strings.Builder
	b.WriteString(`<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY lol "lol">`)
	for i := range 20 {
		fmt.Fprintf(&b, `<!ENTITY lol%d "%s">`, i+1, strings.Repeat(fmt.Sprintf("&lol%d;", i), 10))
	}
	return b.String() + `]><lolz>&lol20;</lolz>`
}

func TestRefusedByName(t *testing.T) {
	for name, c := range map[string]struct {
		in   string
		want error
	}{
		"entity bomb":            {bomb(), ErrDoctype},
		"external entity":        {`<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>`, ErrDoctype},
		"entity":                 {`<a>&x;</a>`, ErrMalformed},
		"declaration inside":     {`<a><!ENTITY x "y"></a>`, ErrMalformed},
		"10,000 levels":          {strings.Repeat("<a>", 10_000), ErrLimit},
		"attributes":             {"<a " + strings.Repeat("a='' ", 200) + "/>", ErrLimit},
		"huge attribute":         {`<a b="` + strings.Repeat("x", 2<<20) + `"/>`, ErrLimit},
		"huge attribute of refs": {`<a b="` + strings.Repeat("&amp;", 1<<20+1) + `"/>`, ErrLimit},
		"huge text":              {"<a>" + strings.Repeat("x", 2<<20) + "</a>", ErrLimit},
		"huge name":              {"<" + strings.Repeat("x", 4096) + "/>", ErrLimit},
		"nodes":                  {"<a>" + strings.Repeat("<b/>", 250_000) + "</a>", ErrLimit},
		"bytes":                  {"<a>" + strings.Repeat(" ", 9<<20) + "</a>", ErrLimit},
		"attribute twice":        {`<a b="1" b="2"/>`, ErrMalformed},
		"attribute by namespace": {`<a xmlns:p="urn:x" xmlns:q="urn:x" p:b="1" q:b="2"/>`, ErrMalformed},
		"prefix":                 {`<p:a/>`, ErrMalformed},
		"prefix unbound":         {`<a xmlns:p=""/>`, ErrMalformed},
		"xml elsewhere":          {`<a xmlns:xml="urn:x"/>`, ErrMalformed},
		"another as xml":         {`<a xmlns:p="http://www.w3.org/XML/1998/namespace"/>`, ErrMalformed},
		"xmlns as element":       {`<a xmlns:xmlns="urn:x"/>`, ErrMalformed},
		"two colons":             {`<a:b:c xmlns:a="urn:a"/>`, ErrMalformed},
		"end of CDATA":           {`<a>]]></a>`, ErrMalformed},
		"less in attribute":      {`<a b="<"/>`, ErrMalformed},
		"comment":                {`<!-- a -- b --><a/>`, ErrMalformed},
		"latin":                  {`<?xml version="1.0" encoding="ISO-8859-1"?><a/>`, ErrMalformed},
		"not UTF-8":              {"<a>\xff</a>", ErrMalformed},
		"control":                {"<a>\x01</a>", ErrMalformed},
		"control by reference":   {"<a>&#1;</a>", ErrMalformed},
		"surrogate":              {"<a>&#xD800;</a>", ErrMalformed},
		"two roots":              {"<a/><b/>", ErrMalformed},
		"text behind":            {"<a/>x", ErrMalformed},
		"end":                    {"<a></b>", ErrMalformed},
		"open":                   {"<a><b></b>", ErrMalformed},
		"nothing":                {"", ErrMalformed},
		"no space":               {`<a b="1"c="2"/>`, ErrMalformed},
		"late declaration":       {`<a/><?xml version="1.0"?>`, ErrMalformed},
	} {
		_, err := Parse([]byte(c.in), DefaultLimits())
		require.ErrorIs(t, err, c.want, name)
	}
}

// What a hostile document costs is bounded by its size.
func TestHostileCostIsBounded(t *testing.T) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var b strings.Builder
	for i := range 60 { // many namespaces in scope, written again and again by the exclusive form
		b.WriteString("<a")
		for j := range 120 {
			fmt.Fprintf(&b, ` xmlns:p%d-%d="urn:%d"`, i, j, i)
		}
		b.WriteString(">")
	}
	b.WriteString(strings.Repeat(`<p0-0:x p1-1:a="" p2-2:a=""/>`, 50_000))
	b.WriteString(strings.Repeat("</a>", 60))
	d := parse(t, b.String())
	for _, m := range []Method{{}, {Exclusive: true}, {Exclusive: true, Prefixes: []string{"p3-3", ""}}} {
		_, err := m.Document(d, nil)
		require.NoError(t, err)
	}
	runtime.ReadMemStats(&after)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(1<<30))
}

// The examples of Canonical XML 1.0, section 3, without what needs a document
// type.
func TestCanonicalForms(t *testing.T) {
	for _, c := range []struct {
		name   string
		method Method
		in     string
		want   string
	}{
		{
			"3.1 instructions and comments",
			Method{},
			"<?xml version=\"1.0\"?>\n\n<?xml-stylesheet   href=\"doc.xsl\"\n   type=\"text/xsl\"   ?>\n\n<doc>Hello, world!<!-- Comment 1 --></doc>\n\n<?pi-without-data     ?>\n\n<!-- Comment 2 -->\n",
			"<?xml-stylesheet href=\"doc.xsl\"\n   type=\"text/xsl\"   ?>\n<doc>Hello, world!</doc>\n<?pi-without-data?>",
		},
		{
			"3.1 with comments",
			Method{Comments: true},
			"<doc>Hello, world!<!-- Comment 1 --></doc>\n\n<?pi-without-data     ?>\n\n<!-- Comment 2 -->\n\n<!-- Comment 3 -->",
			"<doc>Hello, world!<!-- Comment 1 --></doc>\n<?pi-without-data?>\n<!-- Comment 2 -->\n<!-- Comment 3 -->",
		},
		{
			"3.3 tags",
			Method{},
			"<doc><e1   /><e3   name = \"elem3\"   id=\"elem3\"   /><e5 a:attr=\"out\" b:attr=\"sorted\" attr2=\"all\" attr=\"I'm\"\n xmlns:b=\"http://www.ietf.org\"\n xmlns:a=\"http://www.w3.org\"\n xmlns=\"http://example.org\"/>" +
				"<e6 xmlns=\"\" xmlns:a=\"http://www.w3.org\"><e7 xmlns=\"http://www.ietf.org\"><e8 xmlns=\"\" xmlns:a=\"http://www.w3.org\"><e9 xmlns=\"\" xmlns:a=\"http://www.ietf.org\"/></e8></e7></e6></doc>",
			"<doc><e1></e1><e3 id=\"elem3\" name=\"elem3\"></e3><e5 xmlns=\"http://example.org\" xmlns:a=\"http://www.w3.org\" xmlns:b=\"http://www.ietf.org\" attr=\"I'm\" attr2=\"all\" b:attr=\"sorted\" a:attr=\"out\"></e5>" +
				"<e6 xmlns:a=\"http://www.w3.org\"><e7 xmlns=\"http://www.ietf.org\"><e8 xmlns=\"\"><e9 xmlns:a=\"http://www.ietf.org\"></e9></e8></e7></e6></doc>",
		},
		{
			"3.4 characters",
			Method{},
			"<doc><text>First line&#x0d;&#10;Second line</text><value>&#x32;</value><compute><![CDATA[value>\"0\" && value<\"10\" ?\"valid\":\"error\"]]></compute>" +
				"<compute expr='value>\"0\" &amp;&amp; value&lt;\"10\" ?\"valid\":\"error\"'>valid</compute><norm attr=' &apos;   &#x20;&#13;&#xa;&#9;   &apos; '/></doc>",
			"<doc><text>First line&#xD;\nSecond line</text><value>2</value><compute>value&gt;\"0\" &amp;&amp; value&lt;\"10\" ?\"valid\":\"error\"</compute>" +
				"<compute expr=\"value>&quot;0&quot; &amp;&amp; value&lt;&quot;10&quot; ?&quot;valid&quot;:&quot;error&quot;\">valid</compute><norm attr=\" '    &#xD;&#xA;&#x9;   ' \"></norm></doc>",
		},
		{"attribute white space", Method{}, "<a b='x\r\ny\tz'>\r\n\r</a>", "<a b=\"x y z\">\n\n</a>"},
		{"exclusive", Method{Exclusive: true}, `<n0:a xmlns:n0="urn:0" xmlns:n1="urn:1" xmlns="urn:d"><b n1:c=""/></n0:a>`, `<n0:a xmlns:n0="urn:0"><b xmlns="urn:d" xmlns:n1="urn:1" n1:c=""></b></n0:a>`},
		{"exclusive with a list", Method{Exclusive: true, Prefixes: []string{"n1"}}, `<n0:a xmlns:n0="urn:0" xmlns:n1="urn:1"><n0:b/></n0:a>`, `<n0:a xmlns:n0="urn:0" xmlns:n1="urn:1"><n0:b></n0:b></n0:a>`},
	} {
		got, err := c.method.Document(parse(t, c.in), nil)
		require.NoError(t, err, c.name)
		require.Equal(t, c.want, string(got), c.name)
	}
}

// A part is written with what its ancestors declare, and with their attributes
// in the namespace of XML.
func TestCanonicalFormOfAPart(t *testing.T) {
	d := parse(t, `<r xmlns="urn:d" xmlns:a="urn:a" xml:lang="en" xml:id="x"><a:m xml:space="preserve"><s/></a:m></r>`)
	s := d.Root.Children[0].Children[0]
	for want, m := range map[string]Method{
		`<s xmlns="urn:d" xmlns:a="urn:a" xml:id="x" xml:lang="en" xml:space="preserve"></s>`: {},
		`<s xmlns="urn:d" xmlns:a="urn:a" xml:lang="en" xml:space="preserve"></s>`:            {Version11: true},
		`<s xmlns="urn:d"></s>`: {Exclusive: true},
	} {
		got, err := m.Element(s, nil)
		require.NoError(t, err)
		require.Equal(t, want, string(got))
	}
	_, err := Method{}.Document(parse(t, `<a xmlns="relative"/>`), nil)
	require.ErrorIs(t, err, ErrCanonical)
	_, err = Method{Version11: true}.Element(parse(t, `<a xml:base="urn:x"><b/></a>`).Root.Children[0], nil)
	require.ErrorIs(t, err, ErrCanonical)
}

var seeds = []string{
	`<?xml version="1.0" encoding="UTF-8"?><a xmlns="urn:d" xmlns:p="urn:p" p:q="1" xml:lang="en"><!-- c --><p:b>t&amp;x<![CDATA[<>]]></p:b><?pi data?></a>`,
	"<a b='x\r\ny'>&#13;\r\n  <c/> </a>\n<!-- end -->", `<a xmlns:p="urn:1"><p:b xmlns:p="urn:2"><p:c xmlns=""/></p:b></a>`, bomb(), `<a>&#x10FFFF;</a>`,
}

// xmllint is another implementation of the same forms.
func TestAgreesWithXmllint(t *testing.T) {
	lint, err := exec.LookPath("xmllint")
	if err != nil {
		t.Skip("needs xmllint, of the package libxml2-utils")
	}
	for _, s := range seeds {
		d, err := Parse([]byte(s), DefaultLimits())
		if err != nil {
			continue
		}
		for flag, m := range map[string]Method{"--c14n": {Comments: true}, "--c14n11": {Comments: true, Version11: true}, "--exc-c14n": {Comments: true, Exclusive: true}} {
			got, err := m.Document(d, nil)
			require.NoError(t, err)
			cmd := exec.Command(lint, flag, "-")
			cmd.Stdin = strings.NewReader(s)
			want, err := cmd.Output()
			require.NoError(t, err)
			require.Equal(t, string(want), string(got), "%s of %s", flag, s)
		}
	}
}

// A canonical form is its own canonical form: what is read after verification
// is what was verified.
func FuzzParse(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := Parse(b, DefaultLimits())
		if err != nil {
			return
		}
		for _, m := range []Method{{}, {Comments: true}, {Exclusive: true}, {Version11: true, Comments: true}} {
			once, err := m.Document(d, nil)
			if err != nil {
				require.ErrorIs(t, err, ErrCanonical)
				continue
			}
			again, err := Parse(once, Limits{Bytes: 64 << 20, Depth: 64, Nodes: 200_000, Attributes: 1 << 20, Value: 64 << 20})
			require.NoError(t, err, "%q", once)
			twice, err := m.Document(again, nil)
			require.NoError(t, err)
			require.True(t, bytes.Equal(once, twice), "%q\n%q", once, twice)
		}
	})
}
