package main

import (
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

// standard is the purl type's name for the standard library.
const standard = "std"

// bom is the bill of materials of one program, in CycloneDX 1.6: the modules
// that its build information names, their licences as read in the module cache,
// and which of them imports which.
func (r *release) bom(program, arch string) (*cdx.BOM, error) {
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		return nil, err
	}
	raw, err := os.ReadFile(program)
	if err != nil {
		return nil, err
	}
	digest := sha256.Sum256(raw)
	root := r.rootComponent(info, filepath.Base(program), digest)
	modules := linked(info)
	var components []cdx.Component
	for _, m := range modules {
		c, err := r.component(m)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", m.Path, err)
		}
		components = append(components, *c)
	}
	edges, packages, err := r.edges(info, arch)
	if err != nil {
		return nil, err
	}
	refs := map[string]string{}
	for _, m := range modules {
		refs[m.Path] = purl(m.Path, m.Version)
	}
	for _, e := range carried(packages) {
		components = append(components, e.component())
		refs[e.purl], edges[""][e.purl] = e.purl, true
	}
	b := cdx.NewBOM()
	b.SpecVersion, b.JSONSchema = cdx.SpecVersion1_6, "http://cyclonedx.org/schema/bom-1.6.schema.json"
	b.SerialNumber = serial(digest)
	b.Metadata = &cdx.Metadata{
		Timestamp: r.at.Format(time.RFC3339), Component: root,
		Lifecycles: &[]cdx.Lifecycle{{Phase: cdx.LifecyclePhasePostBuild}},
		Tools:      &cdx.ToolsChoice{Components: &[]cdx.Component{{Type: cdx.ComponentTypeApplication, Name: "github.com/assay-hw/assay/tools/release", Version: r.version.described}}},
	}
	b.Components = &components
	b.Dependencies = dependencies(root.BOMRef, refs, edges)
	b.Compositions = &[]cdx.Composition{{Aggregate: cdx.CompositionAggregateComplete, Dependencies: &[]cdx.BOMReference{cdx.BOMReference(root.BOMRef)}}}
	return b, nil
}

// serial is a UUID (RFC 9562, version 8) of the program's bytes: another program
// has another one, and the same one the same.
func serial(digest [32]byte) string {
	u := digest[:16]
	u = slices.Clone(u)
	u[6], u[8] = u[6]&0x0f|0x80, u[8]&0x3f|0x80
	return fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}

func (r *release) rootComponent(info *debug.BuildInfo, name string, digest [32]byte) *cdx.Component {
	var properties []cdx.Property
	for _, s := range info.Settings {
		if s.Key != "-ldflags" { // holds the version, which stands here already
			properties = append(properties, cdx.Property{Name: "assay:build:" + s.Key, Value: s.Value})
		}
	}
	sub := strings.TrimPrefix(strings.TrimPrefix(info.Path, info.Main.Path), "/")
	url := purl(info.Main.Path, r.version.described) + "#" + sub
	return &cdx.Component{
		Type: cdx.ComponentTypeApplication, Name: name, Version: r.version.described, BOMRef: url, PackageURL: url,
		Hashes:     &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: hex.EncodeToString(digest[:])}},
		Licenses:   &cdx.Licenses{{License: &cdx.License{ID: "Apache-2.0", Acknowledgement: cdx.LicenseAcknowledgementDeclared}}},
		Properties: &properties,
	}
}

// linked are the modules in a program, with the standard library, by path.
func linked(info *debug.BuildInfo) []debug.Module {
	out := []debug.Module{{Path: standard, Version: strings.TrimPrefix(info.GoVersion, "go")}}
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		out = append(out, *m)
	}
	slices.SortFunc(out, func(a, b debug.Module) int { return strings.Compare(a.Path, b.Path) })
	return out
}

func purl(module, version string) string { return "pkg:golang/" + module + "@" + version }

func (r *release) component(m debug.Module) (*cdx.Component, error) {
	texts, err := r.licences(m)
	if err != nil {
		return nil, err
	}
	url := purl(m.Path, m.Version)
	c := &cdx.Component{Type: cdx.ComponentTypeLibrary, Name: m.Path, Version: m.Version, BOMRef: url, PackageURL: url, Scope: cdx.ScopeRequired}
	var licences cdx.Licenses
	for _, id := range identifiers(texts) {
		licences = append(licences, cdx.LicenseChoice{License: &cdx.License{ID: id, Acknowledgement: cdx.LicenseAcknowledgementConcluded}})
	}
	if len(licences) > 0 {
		c.Licenses = &licences
	}
	if m.Sum != "" {
		// A hash over the names and hashes of the module's files, which is no hash of
		// any file and so none of the component's hashes.
		c.Properties = &[]cdx.Property{{Name: "assay:go.sum", Value: m.Sum}}
	}
	return c, nil
}

// edges says which module imports which, counting what this program is made of,
// and which packages that is. Those of the program itself have no name.
func (r *release) edges(info *debug.BuildInfo, arch string) (edges map[string]map[string]bool, packages map[string]bool, err error) {
	cmd := exec.Command("go", "list", "-deps", "-json=ImportPath,Standard,Imports,ImportMap,Module", info.Path)
	cmd.Dir, cmd.Env = r.source, append(os.Environ(), "GOOS=linux", "GOARCH="+arch, "CGO_ENABLED=0")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, nil, fmt.Errorf("go list: %w", err)
	}
	type pkg struct {
		ImportPath string
		Standard   bool
		Imports    []string
		ImportMap  map[string]string
		Module     *struct{ Path string }
	}
	of, all := map[string]string{}, []pkg{}
	packages = map[string]bool{}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := d.Decode(&p); err == io.EOF {
			break
		} else if err != nil {
			return nil, nil, fmt.Errorf("go list: %w", err)
		}
		all = append(all, p)
		packages[p.ImportPath] = true
		of[p.ImportPath] = standard
		if p.Module != nil {
			of[p.ImportPath] = p.Module.Path
		}
	}
	edges = map[string]map[string]bool{"": {}}
	for _, p := range all {
		from := of[p.ImportPath]
		if from == info.Main.Path {
			from = ""
		}
		for _, to := range p.Imports {
			if mapped, ok := p.ImportMap[to]; ok {
				to = mapped
			}
			if name := of[to]; name != "" && name != info.Main.Path && name != from {
				if edges[from] == nil {
					edges[from] = map[string]bool{}
				}
				edges[from][name] = true
			}
		}
	}
	return edges, packages, nil
}

// dependencies are those edges, by the references of components.
func dependencies(root string, refs map[string]string, edges map[string]map[string]bool) *[]cdx.Dependency {
	of := func(ref, from string) cdx.Dependency {
		on := []string{}
		for _, to := range slices.Sorted(maps.Keys(edges[from])) {
			if refs[to] != "" {
				on = append(on, refs[to])
			}
		}
		return cdx.Dependency{Ref: ref, Dependencies: &on}
	}
	out := []cdx.Dependency{of(root, "")}
	for _, name := range slices.Sorted(maps.Keys(refs)) {
		out = append(out, of(refs[name], name))
	}
	return &out
}

// writeBOMs writes one bill of materials for each program that is shipped.
func (r *release) writeBOMs(dir, arch string) error {
	for _, p := range []struct{ name, arch string }{{"assay", arch}, {"assay-scanner", "amd64"}, {"assay-sender", "amd64"}} {
		b, err := r.bom(filepath.Join(dir, "bin", p.name), p.arch)
		if err != nil {
			return err
		}
		var out bytes.Buffer
		if err := cdx.NewBOMEncoder(&out, cdx.BOMFileFormatJSON).SetPretty(true).SetEscapeHTML(false).Encode(b); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		if err := write(filepath.Join(dir, "sbom", p.name+".cdx.json"), out.Bytes()); err != nil {
			return err
		}
		if p.name == "assay" {
			if err := write(filepath.Join(r.out, path.Base(r.base(arch))+".cdx.json"), out.Bytes()); err != nil {
				return err
			}
		}
	}
	return nil
}
