package alert

import (
	"time"

	"github.com/assay-hw/assay/finding"
)

// detection is a Detection Finding (class 2004) of the Open Cybersecurity Schema
// Framework 1.8.0, as far as Assay writes it.
type detection struct {
	ActivityID   int         `json:"activity_id"`
	ActivityName string      `json:"activity_name"`
	CategoryUID  int         `json:"category_uid"`
	CategoryName string      `json:"category_name"`
	ClassUID     int         `json:"class_uid"`
	ClassName    string      `json:"class_name"`
	TypeUID      int         `json:"type_uid"`
	Time         int64       `json:"time"`
	SeverityID   int         `json:"severity_id"`
	Severity     string      `json:"severity"`
	StatusID     int         `json:"status_id"`
	Status       string      `json:"status"`
	StatusDetail string      `json:"status_detail,omitempty"`
	IsAlert      bool        `json:"is_alert"`
	Message      string      `json:"message"`
	Metadata     metadata    `json:"metadata"`
	FindingInfo  findingInfo `json:"finding_info"`
	Resources    []resource  `json:"resources"`
	Evidences    []proof     `json:"evidences,omitempty"`
}

type metadata struct {
	UID     string  `json:"uid"`
	Version string  `json:"version"`
	Product product `json:"product"`
}

type product struct {
	Name       string `json:"name"`
	VendorName string `json:"vendor_name"`
	Version    string `json:"version"`
}

type findingInfo struct {
	UID         string   `json:"uid"`
	Title       string   `json:"title"`
	Types       []string `json:"types,omitempty"`
	CreatedTime int64    `json:"created_time"`
	SrcURL      string   `json:"src_url,omitempty"`
}

type resource struct {
	UID       string   `json:"uid"`
	Name      string   `json:"name"`
	Type      string   `json:"type"`
	Namespace string   `json:"namespace,omitempty"` // the site
	Labels    []string `json:"labels,omitempty"`
}

type proof struct {
	Name string  `json:"name"`
	UID  string  `json:"uid"`
	Data Finding `json:"data"`
}

const (
	detectionFinding = 2004
	created          = 1
	updated          = 2
	closed           = 3
)

// ocsf writes an event as the schema names it. The finding is the machine's being
// not good: it is created, updated and closed under one uid.
func ocsf(m *message, e *Event, version string) detection {
	activity, name, status, state := updated, "Update", 2, "In Progress"
	switch {
	case e.Kind == Recovered:
		activity, name, status, state = closed, "Close", 4, "Resolved"
	case e.Kind != Reminder && e.Since.Equal(e.At):
		activity, name, status, state = created, "Create", 1, "New"
	}
	severity := map[finding.Severity]string{finding.Info: "Informational", finding.Low: "Low", finding.Medium: "Medium", finding.High: "High", finding.Critical: "Critical"}
	d := detection{
		ActivityID: activity, ActivityName: name, CategoryUID: 2, CategoryName: "Findings", ClassUID: detectionFinding, ClassName: "Detection Finding",
		TypeUID: detectionFinding*100 + activity, Time: e.At.UnixMilli(), SeverityID: int(e.Severity) + 1, Severity: severity[e.Severity], StatusID: status, Status: state,
		StatusDetail: string(e.State), IsAlert: activity != closed && e.Kind != Test, Message: e.line(),
		Metadata:    metadata{m.id + "-" + e.Subject, "1.8.0", product{"Assay", "Assay", version}},
		FindingInfo: findingInfo{UID: e.Subject + "-" + e.Since.UTC().Format(time.RFC3339Nano), Title: e.line(), CreatedTime: e.Since.UnixMilli(), SrcURL: m.link(e)},
		Resources:   []resource{{UID: e.Subject, Name: e.Name, Type: "server", Namespace: e.Site}},
	}
	if e.Profile != "" {
		d.Resources[0].Labels = []string{"board:" + e.Board, "profile:" + e.Profile}
	}
	for _, f := range e.Findings {
		d.FindingInfo.Types = append(d.FindingInfo.Types, string(f.Code))
		d.Evidences = append(d.Evidences, proof{f.Title, f.Fingerprint, f})
	}
	return d
}
