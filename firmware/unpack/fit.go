package unpack

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/firmware"
	"github.com/assay-hw/assay/internal/fdt"
	"github.com/assay-hw/assay/internal/uboot"
)

// openFIT makes a file of every image in a tree, and a listing of the rest:
// what configurations load, and which hashes and signatures there are.
func openFIT(b []byte, _ int) (firmware.Archive, error) {
	t, err := fdt.Parse(b)
	if err != nil {
		return firmware.Archive{}, err
	}
	a := firmware.Archive{Used: t.Extent(b)}
	var list bytes.Buffer
	fmt.Fprintf(&list, "description %q\n", t.Root.Text("description"))
	var files []firmware.File
	left := mostHashed
	for _, n := range t.Root.Node("images").Nodes {
		fmt.Fprintf(&list, "image %s", n.Name)
		for _, p := range []string{"description", "type", "os", "arch", "compression"} {
			if v := n.Text(p); v != "" {
				fmt.Fprintf(&list, " %s=%q", p, v)
			}
		}
		for _, p := range []string{"load", "entry"} {
			if v, ok := n.Number(p); ok {
				fmt.Fprintf(&list, " %s=%08x", p, v)
			}
		}
		list.WriteByte('\n')
		data, err := t.Data(n, b)
		if err != nil {
			a.Notes = append(a.Notes, firmware.Note{Code: finding.InputMalformed, Path: n.Name, Want: "an image in the tree", Got: "none", Why: err.Error()})
			continue
		}
		sums := &digests{data: data, left: &left}
		for _, c := range n.Nodes {
			note, ok := hash(&list, n.Name, c, sums)
			if !ok {
				a.Notes = append(a.Notes, note)
			}
		}
		kind := firmware.Code
		if n.Text("type") == "ramdisk" || n.Text("type") == "filesystem" {
			kind = firmware.Unknown // opened further
		}
		files = append(files, firmware.File{Path: n.Name, Kind: kind, Type: "image", Name: strings.TrimSpace(n.Text("type") + " " + n.Text("description")), Content: data})
	}
	if c := t.Root.Node("configurations"); c != nil {
		configurations(&list, c)
	}
	a.Files = append(a.Files, firmware.File{Path: typeListing, Kind: firmware.Data, Type: typeListing, Content: list.Bytes()})
	a.Files = append(a.Files, files...)
	return a, nil
}

// hash checks a node of an image: a hash over it, or a signature, which is only
// listed.
func hash(list *bytes.Buffer, image string, n *fdt.Node, sums *digests) (note firmware.Note, ok bool) {
	if strings.HasPrefix(n.Name, "signature") {
		listSignature(list, image, n)
		return note, true
	}
	if !strings.HasPrefix(n.Name, "hash") && !strings.HasPrefix(n.Name, "checksum") {
		return note, true
	}
	got, want, err := checkHash(n, sums)
	note = firmware.Note{Path: image, Want: want, Got: got}
	fmt.Fprintf(list, "image %s %s %q %s\n", image, n.Name, n.Text("algo"), want)
	switch {
	case errors.Is(err, firmware.ErrLimit):
		note.Code, note.Want, note.Got = finding.InputLimit, fmt.Sprintf("at most %d bytes to hash", mostHashed), "more"
		note.Why = "the tree gives more hashes than any honest one; the rest was not checked"
	case errors.Is(err, errUnknownHash):
		note.Code, note.Want, note.Got = finding.BytesNotUnderstood, "a known hash", n.Text("algo")
		note.Why = "an image has a hash that is not known: " + err.Error()
	case got != want:
		note.Code, note.Why = finding.InputMalformed, "an image does not have the "+n.Text("algo")+" that is given for it: the boot loader refuses it, or does not look"
	default:
		return note, true
	}
	return note, false
}

func listSignature(list *bytes.Buffer, of string, n *fdt.Node) {
	fmt.Fprintf(list, "%s signature %s %q key=%q, %d bytes, not verified\n", of, n.Name, n.Text("algo"), n.Text("key-name-hint"), len(n.Properties["value"]))
}

// configurations lists what the boot loader can choose from.
func configurations(list *bytes.Buffer, c *fdt.Node) {
	fmt.Fprintf(list, "default %q\n", c.Text("default"))
	for _, n := range c.Nodes {
		fmt.Fprintf(list, "configuration %s", n.Name)
		names := make([]string, 0, len(n.Properties))
		for p := range n.Properties {
			names = append(names, p)
		}
		slices.Sort(names)
		for _, p := range names {
			fmt.Fprintf(list, " %s=%q", p, bytes.TrimRight(n.Properties[p], "\x00"))
		}
		list.WriteByte('\n')
		for _, s := range n.Nodes {
			listSignature(list, "configuration "+n.Name, s)
		}
	}
}

// openUImage makes files of a legacy image's data, or of the images in it.
func openUImage(b []byte, _ int) (firmware.Archive, error) {
	m, err := uboot.ParseImage(b)
	if err != nil {
		return firmware.Archive{}, err
	}
	a := firmware.Archive{Used: uboot.HeaderLen + len(m.Data)}
	if m.Damaged {
		a.Notes = append(a.Notes, firmware.Note{
			Code: finding.InputMalformed, Want: "data with the checksum in the header", Got: "another checksum",
			Why: "the data of an image do not have the checksum that its header gives: the boot loader refuses it, or does not look",
		})
	}
	list := fmt.Sprintf("name %q type %d os %d arch %d compression %d load %08x entry %08x\n", m.Name, m.Type, m.OS, m.Arch, m.Compression, m.Load, m.Entry)
	a.Files = append(a.Files, firmware.File{Path: typeListing, Kind: firmware.Data, Type: typeListing, Content: []byte(list)})
	parts := m.Parts
	if len(parts) == 0 {
		parts = [][]byte{m.Data}
	}
	for i, p := range parts {
		a.Files = append(a.Files, firmware.File{Path: fmt.Sprintf("data-%d", i), Kind: firmware.Unknown, Type: "image", Name: m.Name, Content: p})
	}
	return a, nil
}

// digests are those of one image, each computed once. The images of a tree share
// what may be hashed: they may be the same bytes.
type digests struct {
	data []byte
	left *int
	sums map[string][]byte
}

// checkHash computes the hash that a node of an image names over the image. A
// hash that is not known is errUnknownHash.
func checkHash(n *fdt.Node, d *digests) (got, want string, err error) {
	algorithm := n.Text("algo")
	sum, ok := d.sums[algorithm]
	if !ok {
		if !slices.Contains([]string{"crc32", "md5", "sha1", "sha256", "sha384", "sha512"}, algorithm) {
			return "", "", fmt.Errorf("%w: %q", errUnknownHash, algorithm)
		}
		if *d.left -= len(d.data); *d.left < 0 {
			return "", "", firmware.ErrLimit
		}
		if sum, err = hex.DecodeString(digestOf(algorithm, d.data)); algorithm == "crc32" {
			sum = binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE(d.data))
		}
		if d.sums == nil {
			d.sums = map[string][]byte{}
		}
		d.sums[algorithm] = sum
	}
	return hex.EncodeToString(sum), hex.EncodeToString(n.Properties["value"]), err
}

// errUnknownHash is wrapped for a hash that is not known.
var errUnknownHash = errors.New("hash not known")
