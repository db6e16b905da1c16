package main

import (
	"os"
	"path/filepath"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

// embedded is what others made and is no Go module: files that a package of ours
// has in it.
type embedded struct {
	in, name, version, purl, id, licence string
	kind                                 cdx.ComponentType
}

var embeddings = []embedded{
	{"fleet/web", "htmx.org", "4.0.1", "pkg:npm/htmx.org@4.0.1", "0BSD", "fleet/web/assets/htmx.LICENSE", cdx.ComponentTypeLibrary},
	{"internal/ids", "pci.ids", "2023.04.10", "pkg:deb/debian/pci.ids@0.0~2023.04.11-1", "BSD-3-Clause", "internal/ids/LICENSE-BSD-3-Clause.md", cdx.ComponentTypeData},
	{"internal/ids", "usb.ids", "2025.07.26", "pkg:deb/debian/usb.ids@2025.07.26-0%2Bdeb12u1", "BSD-3-Clause", "internal/ids/LICENSE-BSD-3-Clause.md", cdx.ComponentTypeData},
	{"internal/tpmroots", "tpm-ca-certificates", "v0.11.0", "pkg:golang/github.com/loicsikidi/tpm-ca-certificates@v0.11.0", "BSD-3-Clause", "internal/tpmroots/data/LICENSE", cdx.ComponentTypeData},
}

// carried are the embeddings that a program of these packages has.
func carried(packages map[string]bool) []embedded {
	var out []embedded
	for _, e := range embeddings {
		if packages["github.com/assay-hw/assay/"+e.in] {
			out = append(out, e)
		}
	}
	return out
}

func (e embedded) component() cdx.Component {
	return cdx.Component{
		Type: e.kind, Name: e.name, Version: e.version, BOMRef: e.purl, PackageURL: e.purl, Scope: cdx.ScopeRequired,
		Licenses: &cdx.Licenses{{License: &cdx.License{ID: e.id, Acknowledgement: cdx.LicenseAcknowledgementDeclared}}},
	}
}

func (r *release) embeddedLicence(e embedded) ([]byte, error) {
	return os.ReadFile(filepath.Join(r.source, filepath.FromSlash(e.licence)))
}
