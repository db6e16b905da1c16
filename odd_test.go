package assay_test

import (
	"archive/zip"
	"bytes"
	"io"
	"math/rand/v2"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/assay-hw/assay"
	"github.com/assay-hw/assay/evidence"
	"github.com/assay-hw/assay/finding"
	"github.com/assay-hw/assay/firmware"
	"github.com/assay-hw/assay/report"
	"github.com/assay-hw/assay/report/html"
)

func TestBusMasterWithoutDriver(t *testing.T) {
	base := machine(t, "baseline")
	unbound := with(base, func(f files) { delete(f, nicDir+"/driver") })
	asDeclared := newLab(t, base)
	index := func(f files, edit func(*evidence.Index)) files { return sealedBy(t, f, edit) }
	for name, c := range map[string]struct {
		unit    files
		machine files
		subject string
	}{
		"card that lost its driver":       {base, unbound, "pci:0000:01:00.0"},
		"bus mastering off":               {base, with(unbound, func(f files) { b := bytes.Clone(f[nicDir+"/config"]); b[4] &^= 4; f[nicDir+"/config"] = b }), ""},
		"bridge without a driver":         {base, with(base, func(f files) { delete(f, pciBase+"0000:00:02.0/driver") }), ""},
		"display without a driver":        {base, base, ""},
		"bus of the chipset":              {base, with(base, func(f files) { delete(f, pciBase+"0000:00:1f.3/driver") }), ""},
		"capture without drivers":         {base, with(base, func(f files) { dropSuffix(f, "/driver") }), ""},
		"reference unit had none either":  {unbound, unbound, ""},
		"evidence of a bootable scanner":  {base, index(unbound, func(ix *evidence.Index) { ix.Mode.Image = "assay-scanner" }), ""},
		"driver that could not be looked": {base, index(unbound, func(ix *evidence.Index) { deny(ix, nicDir+"/driver") }), ""},
	} {
		t.Run(name, func(t *testing.T) {
			l := asDeclared
			if c.unit[nicDir+"/driver"] == nil {
				l = newLab(t, c.unit)
			}
			r := l.appraise(t, c.machine, func(k *assay.Case) { k.Policy = policyOf(t, "id: p\nextends: inventory\n"); k.Nonce = nil })
			fs := find(r, finding.BusMasterWithoutDriver)
			if c.subject == "" {
				require.Empty(t, fs)
				return
			}
			require.Len(t, fs, 1)
			require.Equal(t, c.subject, fs[0].Subject)
			require.Equal(t, finding.Medium, fs[0].Severity)
			require.Equal(t, assay.Review, r.Verdict)
			require.NotEmpty(t, fs[0].Basis[0].SHA256)
		})
	}
	// Of an unexpected card it is one more sign, and no second story.
	r := asDeclared.verify(t, with(machine(t, "extra-nic-norom"), func(f files) { delete(f, pciBase+"0000:09:00.0/driver") }))
	in := incidentOf(r, finding.IncidentSilentDMA)
	require.NotNil(t, in)
	require.Contains(t, in.Findings, find(r, finding.BusMasterWithoutDriver)[0].Fingerprint)
}

func dropSuffix(f files, suffix string) {
	for p := range f {
		if strings.HasSuffix(p, suffix) {
			delete(f, p)
		}
	}
}

func deny(ix *evidence.Index, name string) {
	ix.Artifacts = append(ix.Artifacts, evidence.Artifact{Path: name, Status: evidence.Denied, Reason: "EPERM"})
	slices.SortFunc(ix.Artifacts, func(a, b evidence.Artifact) int { return strings.Compare(a.Path, b.Path) })
}

const efivars = "sys/firmware/efi/efivars/"

func TestSuspiciousVariables(t *testing.T) {
	base := machine(t, "baseline")
	l := newLab(t, base)
	kernel := peOf(t, base)
	noise := make([]byte, 60<<10)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range noise {
		noise[i] = byte(rng.Uint32())
	}
	const vendor = "-ec87d643-eba4-4bb5-a1e5-3f3e36b20da9"
	for name, c := range map[string]struct {
		variable string
		value    []byte
		severity finding.Severity // Info: silent
	}{
		"an image":                            {"Hook" + vendor, kernel, finding.High},
		"an image behind other data":          {"Hook" + vendor, append([]byte("settings\x00\x00\x01"), kernel...), finding.High},
		"an image in a variable of UEFI":      {"Boot0007-8be4df61-93ca-11d2-aa0d-00e098032b8c", kernel, finding.High},
		"code without headers":                {"Hook" + vendor, codeOf(t, kernel), finding.High},
		"the letters of an image":             {"Note" + vendor, []byte(strings.Repeat("MZ and PE are letters. VZ too. ", 40)), finding.Info},
		"headers that lead nowhere":           {"Note" + vendor, append([]byte("MZ"), make([]byte, 300)...), finding.Info},
		"noise, as of a key or a sealed blob": {"Sealed" + vendor, noise, finding.Info},
		"large, of somebody":                  {"Store" + vendor, make([]byte, 70<<10), finding.Low},
		"large, of shim":                      {"MokListXRT-605dab50-e046-4300-abb6-3dd810dd8b23", make([]byte, 70<<10), finding.Info},
		"attributes alone":                    {"Empty" + vendor, nil, finding.Info},
	} {
		t.Run(name, func(t *testing.T) {
			r := l.verify(t, with(base, func(f files) { f[efivars+c.variable] = append([]byte{7, 0, 0, 0}, c.value...) }))
			fs := find(r, finding.SuspiciousVariable)
			if c.severity == finding.Info {
				require.Empty(t, fs)
				return
			}
			require.Len(t, fs, 1)
			require.Equal(t, c.severity, fs[0].Severity)
			require.Equal(t, "efivar:"+c.variable, fs[0].Subject)
			require.Equal(t, c.severity == finding.High, r.Verdict == assay.Fail)
		})
	}
}

// peOf is a driver of the machine's own firmware.
func peOf(t testing.TB, f files) []byte {
	t.Helper()
	var found []byte
	var walk func([]firmware.Leaf)
	walk = func(ls []firmware.Leaf) {
		for _, l := range ls {
			if at, n := firmware.Executable(l.Content()); n > 0 && found == nil && len(l.Content()) > 16<<10 && bytes.Contains(l.Content(), []byte("PE\x00\x00\x64\x86")) {
				found = l.Content()[at:]
			}
			walk(l.Inside)
		}
	}
	walk(firmware.Parse("bios", f["firmware/bios.rom"]).Open())
	require.NotEmpty(t, found)
	return found[:min(len(found), 24<<10)]
}

// codeOf is the code of an image alone.
func codeOf(t testing.TB, image []byte) []byte {
	t.Helper()
	i := bytes.Index(image, []byte{0x48, 0x83, 0xec})
	require.Positive(t, i)
	return image[i:]
}

// No variable of a real machine is suspicious.
func TestRealVariablesAreSilent(t *testing.T) {
	name := filepath.Join("..", "shared", "corpus", "firmware", "nvram", "u-root-sys_fw_efivarfs.zip")
	z, err := zip.OpenReader(name)
	if err != nil {
		t.Skip("needs shared/corpus/firmware/nvram beside the checkout")
	}
	defer z.Close()
	f := files{}
	for _, e := range z.File {
		r, err := e.Open()
		require.NoError(t, err)
		b, err := io.ReadAll(r)
		require.NoError(t, err)
		if !e.FileInfo().IsDir() {
			f[efivars+path.Base(e.Name)] = b
		}
	}
	require.Greater(t, len(f), 10)
	r, err := assay.Verify(assay.Case{Evidence: bundle(t, f), Now: labTime})
	require.NoError(t, err)
	require.Empty(t, find(r, finding.SuspiciousVariable))
}

func TestDangerousEncodings(t *testing.T) {
	l := newLab(t, machine(t, "baseline"))
	for name, c := range map[string]struct {
		text string
		bad  bool
	}{
		"escape":               {"Keyboard\x1b[2J\x1b[1;32mPASS", true},
		"title of a window":    {"\x1b]0;all good\x07", true},
		"one-byte escape":      {"Keyboard\u009b2J", true},
		"turned text":          {"Keyboard \u202edraobyeK", true},
		"isolated text":        {"Keyboard \u2066x\u2069", true},
		"script":               {`<script>fetch("//x")</script>`, true},
		"image":                {`<IMG src=x onerror=alert(1)>`, true},
		"formula":              {`=cmd|' /C calc'!A0`, true},
		"link in a sheet":      {`=HYPERLINK("http://x";"ok")`, true},
		"sum":                  {"@SUM(1+1)*cmd", true},
		"address of a script":  {"JavaScripT:alert(1)", true},
		"colons":               {"8086:10d3 at:10 t: x", false},
		"voltage":              {"+12V (CPU)", false},
		"dash":                 {"- none -", false},
		"brackets":             {"<OUT OF SPEC>", false},
		"less than":            {"a < b", false},
		"letters of the world": {"Tastatur für Büro, 键盘, لوحة", false},
		"empty escape":         {"x\x1b", false},
		"trademark":            {"Intel(R) Xeon(R)", false},
	} {
		t.Run(name, func(t *testing.T) {
			r := l.verify(t, with(machine(t, "baseline"), func(f files) { f["sys/bus/usb/devices/1-1.1/product"] = []byte(c.text + "\n") }))
			fs := find(r, finding.DangerousEncoding)
			require.Equal(t, c.bad, len(fs) > 0)
			for _, f := range fs {
				require.Equal(t, "usb:1-1.1", f.Subject)
				require.Equal(t, finding.High, f.Severity)
			}
			for name, write := range map[string]func(io.Writer, *assay.Result) error{
				"text": func(w io.Writer, r *assay.Result) error { return report.Text(w, r, report.Style{}) },
				"html": func(w io.Writer, r *assay.Result) error { return html.Write(w, r, nil) }, "markdown": func(w io.Writer, r *assay.Result) error { return report.Markdown(w, r, nil) }, "json": report.JSON,
			} {
				var b bytes.Buffer
				require.NoError(t, write(&b, r))
				for _, raw := range []string{"\x1b", "\u009b", "\u202e", "\u2066"} {
					require.NotContains(t, b.String(), raw, name)
				}
				if name == "html" {
					require.NotContains(t, strings.ToLower(b.String()), "<img src=x")
					require.NotContains(t, b.String(), "<script>fetch")
				}
			}
		})
	}
}
