package unpack

import (
	"archive/tar"
	"bufio"
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/firmware"
	"github.com/assay-hw/assay/internal/filetree"
)

// The files of an OpenBMC update (phosphor-bmc-code-mgmt).
const (
	manifestFile  = "MANIFEST"
	publicKeyFile = "publickey"
	signature     = ".sig"
	fullSignature = "image-full.sig"
)

func beginsTar(b []byte) bool { return len(b) >= 512 && string(b[257:262]) == "ustar" }

// openTar opens an archive, and verifies the signatures of an OpenBMC update in
// it.
func openTar(b []byte, limit int) (firmware.Archive, error) {
	src := bytes.NewReader(b)
	r := tar.NewReader(io.MultiReader(src)) // which hides that it can seek, so that it stands where reading ended
	var a firmware.Archive
	files := map[string][]byte{}
	for n := 0; ; n++ {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if n >= filetree.MaxEntries {
			return a, fmt.Errorf("%w of %d entries", firmware.ErrLimit, filetree.MaxEntries)
		}
		var data []byte
		if err == nil && h.Typeflag == tar.TypeReg {
			if h.Size > int64(limit) {
				return a, fmt.Errorf("%w of %d bytes", firmware.ErrLimit, limit)
			}
			data, err = entry(r, src, b, h.Size)
			limit -= len(data)
		}
		if err != nil {
			if n == 0 || errors.Is(err, firmware.ErrLimit) {
				return a, err
			}
			a.Notes = append(a.Notes, firmware.Note{Code: finding.InputMalformed, Want: "an archive that can be read to its end", Got: "malformed", Why: err.Error()})
			break
		}
		name := strings.TrimPrefix(path.Clean("/"+h.Name), "/")
		if h.Typeflag != tar.TypeReg || name == "" {
			continue
		}
		files[name] = data
		a.Files = append(a.Files, tarFile(name, data))
	}
	a.Used = len(b) - src.Len()
	if rest := b[a.Used:]; len(bytes.Trim(rest, "\x00")) == 0 {
		a.Used = len(b)
	}
	if files[publicKeyFile] != nil && files[manifestFile] != nil {
		a.Notes = append(a.Notes, verify(files)...)
	}
	return a, nil
}

// entry reads a file, which stands in the archive as it is and needs no copy. One
// with holes does not.
func entry(r io.Reader, src *bytes.Reader, b []byte, size int64) ([]byte, error) {
	start := len(b) - src.Len()
	if _, err := io.Copy(io.Discard, r); err != nil {
		return nil, err
	}
	data := b[start : len(b)-src.Len()]
	if int64(len(data)) != size {
		return nil, fmt.Errorf("%w: a file of %d bytes has %d in the archive", filetree.ErrMalformed, size, len(data))
	}
	return data, nil
}

func tarFile(name string, data []byte) firmware.File {
	f := firmware.File{Path: name, Kind: firmware.Data, Type: typeFile, Content: data}
	switch {
	case strings.HasPrefix(name, "image-") && path.Ext(name) != signature:
		f.Kind, f.Type = firmware.Unknown, "image"
	case name == manifestFile:
		m := manifest(data)
		f.Type, f.Name = "manifest", strings.TrimSpace(m["version"]+" "+m["MachineName"])
	}
	return f
}

// manifest reads lines of the form key=value.
func manifest(b []byte) map[string]string {
	out := map[string]string{}
	s := bufio.NewScanner(bytes.NewReader(b))
	for s.Scan() {
		if k, v, ok := strings.Cut(s.Text(), "="); ok {
			out[strings.TrimSpace(k)] = strings.TrimSpace(v)
		}
	}
	return out
}

// verify holds every file against its signature, with the key in the archive:
// that says whether the archive is consistent, and nothing about who made it.
func verify(files map[string][]byte) []firmware.Note {
	bad := func(name, why string) firmware.Note {
		return firmware.Note{Code: finding.VendorSignatureInvalid, Path: name, Want: "a signature that verifies with the key in the archive", Got: "none", Why: why}
	}
	if h := manifest(files[manifestFile])["HashType"]; h != "" && h != "RSA-SHA256" {
		return []firmware.Note{{Code: finding.BytesNotUnderstood, Path: manifestFile, Want: "RSA-SHA256", Got: h, Why: "the archive has signatures of a kind that is not known; they were not verified"}}
	}
	key, err := publicKey(files[publicKeyFile])
	if err != nil {
		return []firmware.Note{bad(publicKeyFile, "the key of the archive cannot be read: "+err.Error())}
	}
	names := make([]string, 0, len(files))
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	var notes []firmware.Note
	var all []byte // of the signatures, which the last one is over
	for _, name := range names {
		if path.Ext(name) == signature {
			if name != fullSignature {
				all = append(all, files[name]...)
			}
			continue
		}
		sig, ok := files[name+signature]
		switch {
		case !ok:
			notes = append(notes, bad(name, "a file of the update has no signature"))
		case !signed(key, files[name], sig):
			notes = append(notes, bad(name, "the signature of a file of the update does not verify"))
		}
	}
	if sig, ok := files[fullSignature]; ok && !signed(key, all, sig) {
		notes = append(notes, bad(fullSignature, "the signature over all signatures of the update does not verify"))
	}
	return notes
}

func publicKey(b []byte) (*rsa.PublicKey, error) {
	p, _ := pem.Decode(b)
	if p == nil {
		return nil, errors.New("it is not PEM")
	}
	k, err := x509.ParsePKIXPublicKey(p.Bytes)
	if err != nil {
		return nil, err
	}
	r, ok := k.(*rsa.PublicKey)
	if !ok || r.Size() > 1024 {
		return nil, errors.New("it is no RSA key, or too long")
	}
	return r, nil
}

func signed(key *rsa.PublicKey, data, sig []byte) bool {
	sum := sha256.Sum256(data)
	return rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], sig) == nil
}
