module github.com/assay-hw/assay/tools/bench

go 1.26.0

require (
	github.com/assay-hw/assay v0.0.0
	github.com/google/go-attestation v0.6.4
	github.com/google/go-eventlog v0.0.2
	github.com/linuxboot/fiano v1.2.1-0.20250121191917-5620ca1697c5
	github.com/stretchr/testify v1.12.1
)

require (
	github.com/google/go-tpm v0.9.9-0.20260124013517-8f8f42cba0de // indirect
	github.com/gowebpki/jcs v1.0.2 // indirect
	github.com/kr/pretty v0.3.1 // indirect
	github.com/pierrec/lz4 v2.6.1+incompatible // indirect
	github.com/ulikunitz/xz v0.5.17 // indirect
	go.yaml.in/yaml/v3 v3.0.5 // indirect
	go.yaml.in/yaml/v4 v4.0.0 // indirect
	golang.org/x/sys v0.50.0 // indirect
	golang.org/x/text v0.44.0 // indirect
	google.golang.org/protobuf v1.36.12 // indirect
	rsc.io/qr v0.2.0 // indirect
)

replace github.com/assay-hw/assay => ../..
