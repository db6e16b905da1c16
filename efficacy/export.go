package efficacy

import (
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/assay-hw/assay/evidence"
)

// Export writes a vector into a directory for "assay verify": the evidence at a level,
// the manifests, who may sign them, the TPM's maker and all else that the verdict
// depends on. It returns the arguments behind "verify", with paths in the
// directory. before leaves the change out.
func (b *Bench) Export(v *Vector, l Level, dir string, before bool) ([]string, error) {
	s, err := b.scene(v)
	if before {
		s, err = b.unchanged(v)
	}
	if err != nil {
		return nil, err
	}
	c, err := s.appraisal(l)
	if err != nil {
		return nil, err
	}
	x := &exporter{dir: dir}
	x.evidence(c.Evidence)
	x.file("--golden", "golden.signed.json", s.golden)
	for i, raw := range s.more {
		x.file("--golden", fmt.Sprintf("golden-%d.signed.json", i+2), raw)
	}
	files, err := b.trustFiles(s.rules)
	if err != nil {
		return nil, err
	}
	for name, data := range files {
		if name == "trust.json" {
			name = "trust.yaml" // of which JSON is a part
		}
		x.file("", filepath.Join("trust", name), data)
	}
	x.args = append(x.args, "--trust", filepath.Join(dir, "trust"), "--now", s.now.UTC().Format(time.RFC3339))
	x.file("--ek-roots", filepath.Join("tpm-roots", "maker.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: b.maker.Certificate.Raw}))
	if c.Nonce != nil {
		x.args = append(x.args, "--nonce", hex.EncodeToString(c.Nonce))
	}
	if text := v.sections["policy"]; text != nil {
		x.file("--policy", "policy.yaml", text)
	} else {
		x.args = append(x.args, "--policy", v.Policy)
	}
	return x.args, x.rest(s, l)
}

// exporter keeps the first error.
type exporter struct {
	dir  string
	args []string
	err  error
}

func (x *exporter) write(flag, name string, write func(path string) error) {
	path := filepath.Join(x.dir, name)
	if x.err == nil {
		x.err = os.MkdirAll(filepath.Dir(path), 0o755)
	}
	if x.err == nil {
		x.err = write(path)
	}
	if flag != "" {
		x.args = append(x.args, flag, path)
	}
}

// evidence writes a bundle as a directory, which no limit of an archive bears on.
func (x *exporter) evidence(b *evidence.Bundle) {
	x.write("", "evidence", func(path string) error { return os.CopyFS(path, b.FS()) })
	x.args = append(x.args, filepath.Join(x.dir, "evidence"))
	ix := b.Index()
	if ix == nil {
		return
	}
	raw, err := json.Marshal(ix)
	if x.err == nil {
		x.err = err
	}
	x.file("", filepath.Join("evidence", evidence.IndexName), raw)
}

func (x *exporter) file(flag, name string, data []byte) {
	x.write(flag, name, func(path string) error { return os.WriteFile(path, data, 0o600) })
}

// rest writes what few vectors have.
func (x *exporter) rest(s *scene, l Level) error {
	for i, raw := range s.known {
		x.file("--known-bad", fmt.Sprintf("known-bad-%d.json", i+1), raw)
	}
	if l == L6 {
		signed, err := s.signedRecords()
		if err != nil {
			return err
		}
		for i, raw := range signed {
			x.file("--inspection", fmt.Sprintf("inspection-%d.signed.json", i+1), raw)
		}
	}
	if s.remembers {
		x.write("--state", "state", s.state.Save)
	}
	return x.err
}
