// Package layout names what the bootable image and the scanner inside it agree
// on: paths in the initial file system and on the stick.
package layout

// ScannerImage is how evidence and references name the image, before its
// version.
const ScannerImage = "assay-scanner"

// Files of the image's programs, as they are built.
const (
	ScannerProgram = "assay-scanner"
	SenderProgram  = "assay-sender"
)

// Paths inside the initial file system, which is measured.
const (
	settings    = "etc/assay"
	ModulesDir  = "modules"
	ModulesPlan = settings + "/modules"
	VersionFile = settings + "/version"
	GoldenDir   = settings + "/golden"
	TrustDir    = settings + "/trust"
	EKRootsDir  = settings + "/ek-roots"

	// Only in an image that sends what it collected.
	Sender    = "sender"
	SendURL   = settings + "/send"
	SendRoots = settings + "/send-roots.pem"
)

// Labels of the stick's partitions.
const (
	BootLabel   = "ASSAYBOOT"
	ResultLabel = "ASSAY"
)

// Paths on the partition for results, which is not measured.
const (
	SettingsFile   = "assay.json"
	ResultsDir     = "results"
	StickGoldenDir = "golden" // signed manifests
)
