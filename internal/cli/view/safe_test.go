package view

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/poolhouse/poolhouse/verify"
)

// TestHostileContent shows what an account may hold in all forms of a report.
func TestHostileContent(t *testing.T) {
	t.Parallel()
	const hostile = "a\x1b]0;pwned\x07b\x1b[31mred\u202e<script>alert(1)</script>|[x](javascript:y)\x00"
	rep := &verify.Report{
		Deployment: "poolside", Region: "us-east-1", Account: "123456789012", Time: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
		Results: []verify.Result{{
			Check:  verify.Check{ID: "parameters-no-secrets", Proves: "No entry is a secret.", Level: verify.Required, Rows: []string{"B42"}},
			Status: verify.Fail,
			Evidence: []verify.Evidence{{
				Resource: hostile, Saw: hostile, API: "ssm:GetParametersByPath", Want: "no secret", Fix: hostile, Trail: []string{hostile},
			}},
		}},
	}
	for _, form := range []string{"text", ".html", ".md"} {
		var b bytes.Buffer
		if form == "text" {
			Verified(&b, rep, true)
		} else if err := VerifyReport(&b, rep, form); err != nil {
			t.Fatal(err)
		}
		got := b.String()
		if !strings.Contains(got, "pwned") {
			t.Errorf("%s does not show the finding:\n%s", form, got)
		}
		for _, bad := range []string{"\x1b", "\x07", "\u202e", "\x00"} {
			if strings.Contains(got, bad) {
				t.Errorf("%s holds %q:\n%s", form, bad, got)
			}
		}
		if form != "text" && strings.Contains(got, "<script") || form == ".md" && strings.Contains(got, "[x](") {
			t.Errorf("%s lets markup through:\n%s", form, got)
		}
	}
}
