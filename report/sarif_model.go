package report

// The parts of SARIF 2.1.0 (OASIS) that a result needs.
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool        sarifTool                `json:"tool"`
		Automation  sarifAutomation          `json:"automationDetails"`
		Invocations []sarifInvocation        `json:"invocations"`
		Bases       map[string]sarifArtifact `json:"originalUriBaseIds"`
		Results     []sarifResult            `json:"results"`
		Taxonomies  []sarifTaxonomy          `json:"taxonomies,omitempty"`
		Properties  sarifProperties          `json:"properties"`
	}
	sarifProperties struct { // a property bag (3.8)
		Verdict     string   `json:"verdict"`
		Assurance   string   `json:"assurance"`
		Statement   string   `json:"statement"`
		Policy      string   `json:"policy"`
		Evidence    string   `json:"evidence"`
		Inspections []string `json:"inspections,omitempty"`
	}
	sarifAutomation struct {
		ID string `json:"id"`
	}
	sarifInvocation struct {
		ExecutionSuccessful bool                `json:"executionSuccessful"`
		ExitCode            int                 `json:"exitCode"`
		ExitCodeDescription string              `json:"exitCodeDescription"`
		EndTime             string              `json:"endTimeUtc"`
		Notifications       []sarifNotification `json:"toolExecutionNotifications"`
	}
	sarifNotification struct {
		Level      string         `json:"level"`
		Message    sarifText      `json:"message"`
		Descriptor sarifReference `json:"descriptor"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name           string           `json:"name"`
		InformationURI string           `json:"informationUri"`
		Rules          []sarifRule      `json:"rules"`
		Supported      []sarifComponent `json:"supportedTaxonomies,omitempty"`
	}
	sarifRule struct {
		ID               string              `json:"id"`
		Name             string              `json:"name"`
		ShortDescription sarifText           `json:"shortDescription"`
		FullDescription  sarifText           `json:"fullDescription"`
		HelpURI          string              `json:"helpUri"`
		Help             sarifHelp           `json:"help"`
		Configuration    sarifConfiguration  `json:"defaultConfiguration"`
		Relationships    []sarifRelationship `json:"relationships,omitempty"`
		Properties       sarifRuleProperties `json:"properties"`
	}
	sarifRuleProperties struct { // names that GitHub code scanning reads
		Tags     []string `json:"tags"`
		Severity string   `json:"security-severity,omitempty"`
	}
	sarifConfiguration struct {
		Level string `json:"level"`
	}
	sarifText struct {
		Text string `json:"text"`
	}
	sarifHelp struct {
		Text     string `json:"text"`
		Markdown string `json:"markdown,omitempty"`
	}
	sarifReference struct {
		ID        string          `json:"id"`
		Component *sarifComponent `json:"toolComponent,omitempty"`
	}
	sarifComponent struct {
		Name  string `json:"name"`
		Index int    `json:"index"`
	}
	sarifRelationship struct {
		Target sarifReference `json:"target"`
		Kinds  []string       `json:"kinds"`
	}
	sarifTaxonomy struct {
		Name           string       `json:"name"`
		Organization   string       `json:"organization"`
		InformationURI string       `json:"informationUri"`
		Taxa           []sarifTaxon `json:"taxa"`
	}
	sarifTaxon struct {
		ID      string `json:"id"`
		HelpURI string `json:"helpUri"`
	}
	sarifResult struct {
		RuleID              string             `json:"ruleId"`
		RuleIndex           int                `json:"ruleIndex"`
		Level               string             `json:"level"`
		Kind                string             `json:"kind"`
		Message             sarifText          `json:"message"`
		Locations           []sarifLocation    `json:"locations"`
		Taxa                []sarifReference   `json:"taxa,omitempty"`
		PartialFingerprints map[string]string  `json:"partialFingerprints"`
		Suppressions        []sarifSuppression `json:"suppressions"`
		Properties          map[string]string  `json:"properties,omitempty"`
	}
	sarifSuppression struct {
		Kind          string `json:"kind"`
		Status        string `json:"status"`
		Justification string `json:"justification"`
	}
	sarifLocation struct {
		Physical    *sarifPhysical `json:"physicalLocation"`
		Logical     []sarifLogical `json:"logicalLocations,omitempty"`
		Annotations []sarifRegion  `json:"annotations,omitempty"`
	}
	sarifPhysical struct {
		Artifact sarifArtifact `json:"artifactLocation"`
	}
	sarifArtifact struct {
		URI         string     `json:"uri,omitempty"`
		Base        string     `json:"uriBaseId,omitempty"`
		Description *sarifText `json:"description,omitempty"`
	}
	sarifRegion struct {
		ByteOffset int64 `json:"byteOffset"`
		ByteLength int64 `json:"byteLength"`
	}
	sarifLogical struct {
		FullyQualifiedName string `json:"fullyQualifiedName"`
	}
)
