package manifest

import (
	"bytes"
	"cmp"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"

	"github.com/assay-hw/assay/internal/strictjson"
)

// Trust is who may sign manifests: roots, revocation lists and grants. The zero
// value trusts nobody.
type Trust struct {
	roots  []*x509.Certificate
	lists  []revocationList
	grants []grant
	// threshold is how many distinct keys must have signed; 0 is 1.
	threshold int

	authorities []*x509.Certificate // roots of time stamping authorities
	stampLists  []revocationList    // that lay beside those
	stamps      timeStamps          // nil: tokens cannot be read
}

type revocationList struct {
	file string
	*x509.RevocationList
}

// grant gives a signer authority, or narrows what it has by default. A signer
// that no grant names may speak for the manufacturer that its certificate's
// organisation names, and for nothing else.
type grant struct {
	Signer        signerRule `yaml:"signer" json:"signer"`
	Manufacturers []string   `yaml:"manufacturers" json:"manufacturers"` // "*" is any; empty: its own organisation
	Classes       []string   `yaml:"classes" json:"classes"`             // component classes, "boot", "boot:software", ...; empty: all
	DeltaOnly     bool       `yaml:"deltaOnly" json:"deltaOnly"`
	ExtKeyUsage   []string   `yaml:"extKeyUsage" json:"extKeyUsage"` // names or OIDs, one of which the certificate must have
	Threshold     int        `yaml:"threshold" json:"threshold"`
}

// signerRule selects certificates; every given field must fit.
type signerRule struct {
	Organization string `yaml:"organization" json:"organization"` // subject organisation
	SPKI         string `yaml:"spki" json:"spki"`                 // sha256 of the public key's DER form
	Root         string `yaml:"root" json:"root"`                 // sha256 of the root certificate

	// Identity selects who signed with a Sigstore certificate; it stands alone.
	Identity *Identity `yaml:"identity" json:"identity,omitempty"`
}

type trustFile struct {
	Threshold int     `yaml:"threshold" json:"threshold"`
	Grants    []grant `yaml:"grants" json:"grants"`
}

// Roots lists the certificates that may end a signer's path.
func (t *Trust) Roots() []*x509.Certificate {
	if t == nil {
		return nil
	}
	return slices.Clone(t.roots)
}

// Lists are the revocation lists that lay beside the roots.
func (t *Trust) Lists() []*x509.RevocationList {
	var out []*x509.RevocationList
	if t == nil {
		return nil
	}
	for _, l := range t.lists {
		out = append(out, l.RevocationList)
	}
	return out
}

// May reports why the holder of a path, leaf first, may not speak for a
// manufacturer's machines: about parts of a class, or, when that is empty, about
// anything at all; by a delta, or by itself. It is for documents that have one
// signature and a format of their own, so that a threshold refuses them.
func (t *Trust) May(path []*x509.Certificate, manufacturer, class string, delta bool) error {
	if t == nil || len(path) == 0 {
		return errors.New("nobody is trusted")
	}
	r := t.rightsOf(voice{certs: path}, manufacturer)
	need := r.needs(class)
	if class == "" {
		need = r.fewest()
	}
	switch {
	case !r.any():
		return errors.New(cmp.Or(r.reason, "no grant covers it"))
	case r.deltaOnly && !delta:
		return errors.New("it may only change what others have signed")
	case need == 0:
		return fmt.Errorf("it may not speak about %s", class)
	case need > 1:
		return fmt.Errorf("%d signatures are needed, and there is one", need)
	}
	return nil
}

// trustFileName is the name of the file of grants beside the roots.
const trustFileName = "trust.yaml"

const maxTrustBytes = 4 << 20

// LoadTrust reads roots (PEM or DER) and revocation lists from files or
// directories, and trust.yaml beside them. Errors name the file.
func LoadTrust(paths []string) (*Trust, error) {
	t := &Trust{}
	dirs := map[string]bool{}
	for _, p := range paths {
		if filepath.Base(filepath.Clean(p)) == tsaDir {
			return nil, fmt.Errorf("trust: %s holds roots of time stamping authorities, which sign no manifests; name the directory above", p)
		}
		info, err := os.Stat(p)
		if err != nil {
			return nil, fmt.Errorf("trust: %w", err)
		}
		dir := p
		if !info.IsDir() {
			dir = filepath.Dir(p)
			if err := t.addFile(p, true); err != nil {
				return nil, fmt.Errorf("trust: %w", err)
			}
		}
		if dirs[dir] && !info.IsDir() {
			continue
		}
		dirs[dir] = true
		if err := t.addDir(dir, info.IsDir()); err != nil {
			return nil, fmt.Errorf("trust: %w", err)
		}
	}
	identities := slices.ContainsFunc(t.grants, func(g grant) bool { return g.Signer.Identity != nil })
	if len(paths) > 0 && len(t.roots) == 0 && !identities {
		return nil, fmt.Errorf("trust: no certificate in %s", strings.Join(paths, ", "))
	}
	return t, nil
}

// exportedFile holds the grants of an exported trust, in JSON: what reads it has
// no need of YAML.
const exportedFile = "trust.json"

// Export gives files from which Import makes the same trust, and nothing else
// that lay beside the files that this one was read from.
func (t *Trust) Export() (map[string][]byte, error) {
	out := map[string][]byte{}
	for i, c := range t.roots {
		out[fmt.Sprintf("root-%04d.der", i)] = c.Raw
	}
	for i, l := range t.lists {
		out[fmt.Sprintf("list-%04d.crl", i)] = l.Raw
	}
	for i, c := range t.authorities {
		out[fmt.Sprintf("tsa-root-%04d.der", i)] = c.Raw
	}
	for i, l := range t.stampLists {
		out[fmt.Sprintf("tsa-list-%04d.crl", i)] = l.Raw
	}
	b, err := json.Marshal(trustFile{Threshold: t.threshold, Grants: t.grants})
	if err != nil {
		return nil, fmt.Errorf("trust: %w", err)
	}
	out[exportedFile] = b
	return out, nil
}

// Import adds what Export gave. A file that it does not know, or a trust without
// its grants, is an error: less would be trusted than was meant, or more.
func (t *Trust) Import(files map[string][]byte) error {
	if files[exportedFile] == nil {
		return fmt.Errorf("trust: %s is not there", exportedFile)
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := t.importFile(name, files[name]); err != nil {
			return fmt.Errorf("trust: %s: %w", name, err)
		}
	}
	return nil
}

func (t *Trust) importFile(name string, b []byte) error {
	switch {
	case name == exportedFile:
		var f trustFile
		if err := strictjson.Decode(b, &f); err != nil {
			return err
		}
		if err := f.check(); err != nil {
			return err
		}
		t.grants, t.threshold = append(t.grants, f.Grants...), max(t.threshold, f.Threshold)
	case strings.HasPrefix(name, "root-"), strings.HasPrefix(name, "tsa-root-"):
		c, err := x509.ParseCertificate(b)
		if err != nil {
			return err
		}
		if strings.HasPrefix(name, "tsa-") {
			t.authorities = append(t.authorities, c)
		} else {
			t.addRoot(c)
		}
	case strings.HasPrefix(name, "list-"), strings.HasPrefix(name, "tsa-list-"):
		l, err := x509.ParseRevocationList(b)
		if err != nil {
			return err
		}
		if strings.HasPrefix(name, "tsa-") {
			t.stampLists = append(t.stampLists, revocationList{name, l})
		} else {
			t.lists = append(t.lists, revocationList{name, l})
		}
	default:
		return errors.New("is no part of an exported trust")
	}
	return nil
}

// addDir reads what lies beside the roots, and the roots themselves when the
// whole directory was named.
func (t *Trust) addDir(dir string, roots bool) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := filepath.Join(dir, e.Name())
		switch ext := strings.ToLower(filepath.Ext(e.Name())); {
		case e.IsDir() && e.Name() == tsaDir:
			if err := t.addAuthorities(name); err != nil {
				return err
			}
		case e.IsDir():
		case e.Name() == trustFileName:
			b, err := readLimited(name)
			if err != nil {
				return err
			}
			f, err := parseTrustFile(b)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			t.grants = append(t.grants, f.Grants...)
			t.threshold = max(t.threshold, f.Threshold)
		case ext == ".crl", roots && (ext == ".pem" || ext == ".crt" || ext == ".cer" || ext == ".der"):
			if err := t.addFile(name, false); err != nil {
				return err
			}
		}
	}
	return nil
}

func readLimited(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxTrustBytes+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if len(b) > maxTrustBytes {
		return nil, fmt.Errorf("%s: offset %d: exceeds the limit of %d bytes", name, maxTrustBytes, maxTrustBytes)
	}
	return b, nil
}

// addFile reads certificates and revocation lists from one file. A named file
// must hold one; in a directory, files that only hold keys are passed over.
func (t *Trust) addFile(name string, named bool) error {
	b, err := readLimited(name)
	if err != nil {
		return err
	}
	found, err := t.addPEM(name, b)
	if err != nil || found > 0 {
		return err
	}
	if c, err := x509.ParseCertificate(b); err == nil {
		t.addRoot(c)
		return nil
	}
	if l, err := x509.ParseRevocationList(b); err == nil {
		t.lists = append(t.lists, revocationList{name, l})
		return nil
	}
	if block, _ := pem.Decode(b); !named && block != nil {
		return nil
	}
	return fmt.Errorf("%s: holds no certificate and no revocation list", name)
}

func (t *Trust) addPEM(name string, b []byte) (found int, err error) {
	for rest := b; ; {
		at := len(b) - len(rest)
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return found, nil
		}
		switch block.Type {
		case "CERTIFICATE":
			c, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return found, fmt.Errorf("%s: offset %d: certificate: %w", name, at, err)
			}
			t.addRoot(c)
		case "X509 CRL":
			l, err := x509.ParseRevocationList(block.Bytes)
			if err != nil {
				return found, fmt.Errorf("%s: offset %d: revocation list: %w", name, at, err)
			}
			t.lists = append(t.lists, revocationList{name, l})
		default:
			continue
		}
		found++
	}
}

func (t *Trust) addRoot(c *x509.Certificate) {
	if !slices.ContainsFunc(t.roots, c.Equal) {
		t.roots = append(t.roots, c)
	}
}

// parseTrustFile reads trust.yaml. Unknown keys, selectors that select anyone
// and unknown classes are errors: a typing error must not grant more than its
// author meant.
func parseTrustFile(b []byte) (*trustFile, error) {
	var f trustFile
	dec := yaml.NewDecoder(bytes.NewReader(b))
	dec.KnownFields(true)
	if err := dec.Decode(&f); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, errors.New("is empty")
		}
		return nil, err
	}
	if err := dec.Decode(&struct{}{}); !errors.Is(err, io.EOF) {
		return nil, errors.New("holds more than one document")
	}
	return &f, f.check()
}

func (f *trustFile) check() error {
	if f.Threshold < 0 {
		return fmt.Errorf("threshold is %d", f.Threshold)
	}
	for i, g := range f.Grants {
		if err := g.check(); err != nil {
			return fmt.Errorf("grants[%d]: %w", i, err)
		}
	}
	return nil
}

func (g grant) check() error {
	switch s := g.Signer; {
	case s == signerRule{}:
		return errors.New("signer: name an organization, an spki, a root or an identity")
	case s.Identity != nil:
		if err := g.checkIdentity(); err != nil {
			return err
		}
	case s.Organization != "" && organization(s.Organization) == "":
		return fmt.Errorf("signer: organization %q has no letters", s.Organization)
	case s.SPKI != "" && !isHex(strings.ToLower(s.SPKI), 64):
		return fmt.Errorf("signer: spki %q is not a sha256", s.SPKI)
	case s.Root != "" && !isHex(strings.ToLower(s.Root), 64):
		return fmt.Errorf("signer: root %q is not a sha256", s.Root)
	case g.Threshold < 0:
		return fmt.Errorf("threshold is %d", g.Threshold)
	}
	for _, c := range g.Classes {
		if !knownRight(c) {
			return fmt.Errorf("unknown class %q", c)
		}
	}
	for _, u := range g.ExtKeyUsage {
		if _, err := keyUsageOID(u); err != nil {
			return err
		}
	}
	return nil
}

// extKeyUsages are the names that trust.yaml may use (RFC 5280, 4.2.1.12).
var extKeyUsages = map[string]string{
	"any":             "2.5.29.37.0",
	"serverAuth":      "1.3.6.1.5.5.7.3.1",
	"clientAuth":      "1.3.6.1.5.5.7.3.2",
	"codeSigning":     "1.3.6.1.5.5.7.3.3",
	"emailProtection": "1.3.6.1.5.5.7.3.4",
	"timeStamping":    "1.3.6.1.5.5.7.3.8",
	"ocspSigning":     "1.3.6.1.5.5.7.3.9",
}

// keyUsageOID returns the dotted form of a name or an OID.
func keyUsageOID(s string) (string, error) {
	if o, ok := extKeyUsages[s]; ok {
		return o, nil
	}
	o, err := x509.ParseOID(s)
	if err != nil {
		return "", fmt.Errorf("extKeyUsage %q: neither a known name nor an OID", s)
	}
	return o.String(), nil
}
