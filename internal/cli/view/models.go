package view

import (
	"fmt"
	"io"

	"github.com/poolhouse/poolhouse/models"
)

// Pushed prints what a push of a checkpoint came to.
func Pushed(w io.Writer, p *models.Pushed) {
	files := fmt.Sprintf("%s, %s", Count(p.Files, "file"), bytesOf(p.Bytes))
	switch {
	case p.Unchanged:
		paragraph(w, "", "  ", "%s is there already, from the same source: nothing to do", p.Name)
	case p.DryRun && p.Replaced:
		paragraph(w, "", "  ", "%s would be replaced: %s; its files that are the same are not sent again", p.Name, files)
	case p.DryRun:
		paragraph(w, "", "  ", "%s would be pushed: %s", p.Name, files)
	case p.Replaced:
		paragraph(w, "", "  ", "replaced %s: %s, of which %s were sent", p.Name, files, bytesOf(p.Sent+p.Copied))
	case p.Sent+p.Copied < p.Bytes:
		paragraph(w, "", "  ", "pushed %s: %s; %s of it were there from an earlier push", p.Name, files, bytesOf(p.Bytes-p.Sent-p.Copied))
	default:
		paragraph(w, "", "  ", "pushed %s: %s", p.Name, files)
	}
	entry(w, "%s", p.URI)
	entry(w, "%s", p.Digest)
	if p.Copied > 0 {
		entry(w, "%s were copied by S3 itself", bytesOf(p.Copied))
	}
	for _, name := range p.Removed {
		if p.DryRun {
			entry(w, "would be removed, since it is not in the source: %s", name)
			continue
		}
		entry(w, "removed, since it is not in the source: %s", name)
	}
	for _, name := range p.Others {
		entry(w, "is in the way, since no push recorded it: %s; --delete-others removes it", name)
	}
	if p.Aborted > 0 {
		entry(w, "ended %s of earlier pushes", Count(p.Aborted, "unfinished upload"))
	}
}

// Checkpoints lists those of a bucket.
func Checkpoints(w io.Writer, bucket string, list []models.Checkpoint) {
	if len(list) == 0 {
		paragraph(w, "", "  ", "there is no checkpoint in bucket %s", bucket)
		return
	}
	table(w, func(row func(format string, args ...any)) {
		row("NAME\tSTATE\tFILES\tSIZE\tDIGEST")
		for _, c := range list {
			state := "incomplete"
			if c.Complete {
				state = "complete"
			}
			digest := "-"
			if len(c.Digest) > 19 {
				digest = c.Digest[:19] + "..."
			}
			row("%s\t%s\t%d\t%s\t%s", c.Name, state, c.Files, bytesOf(c.Bytes), digest)
		}
	})
	for _, c := range list {
		if c.Uploads > 0 {
			paragraph(w, "", "  ", "%s has %s, of a push that goes on or was interrupted", c.Name, Count(c.Uploads, "unfinished upload"))
		}
	}
}

// CheckpointVerification prints how a checkpoint compares with what was recorded.
func CheckpointVerification(w io.Writer, v *models.Verification) {
	what := fmt.Sprintf("%s: %s, %s", v.Name, Count(v.Files, "file"), bytesOf(v.Bytes))
	switch {
	case !v.Whole:
		paragraph(w, "FAIL ", "  ", "%s, %s", what, Count(len(v.Differences), "difference"))
	case v.Recorded:
		paragraph(w, "ok: ", "  ", "%s, all as recorded", what)
	default:
		paragraph(w, "ok: ", "  ", "%s, marked as complete", what)
	}
	if v.Digest != "" {
		entry(w, "%s", v.Digest)
	}
	if v.Uploads > 0 {
		entry(w, "%s, of a push that goes on or was interrupted", Count(v.Uploads, "unfinished upload"))
	}
	for _, d := range v.Differences {
		entry(w, "%s", d)
		paragraph(w, "    fix: ", "      ", "%s", d.Fix)
	}
	for _, u := range v.Unchecked {
		entry(w, "not checked: %s", u)
	}
}

// Removed is what the removal of a checkpoint came to, as machines get it.
type Removed struct {
	*models.Removal
	DryRun bool `json:"dryRun"`
	// Monthly is what S3 took for it.
	Monthly float64 `json:"usdPerMonth"`
}

// storagePrice is that of S3 Standard in us-east-1, USD for a GB and month; other
// regions differ by up to twice as much.
// https://aws.amazon.com/s3/pricing/
const storagePrice = 0.023

// NewRemoved adds the price to a removal.
func NewRemoved(r *models.Removal, dryRun bool) Removed {
	return Removed{r, dryRun, float64(r.Bytes) / (1 << 30) * storagePrice}
}

// freed says how much a removal frees.
func freed(r Removed) string {
	return fmt.Sprintf("%s in %s, some %.2f USD a month at the price of S3 Standard in us-east-1", bytesOf(r.Bytes), Count(r.Versions, "version"), r.Monthly)
}

// RemoveCheckpoint is the question before a removal.
func RemoveCheckpoint(r Removed) string {
	what := "Remove the checkpoint"
	if r.Complete {
		what += ", which is complete and may be in use,"
	}
	return fmt.Sprintf("%s %s for good? That frees %s.", what, r.Name, freed(r))
}

// CheckpointRemoved prints what was removed, or would be.
func CheckpointRemoved(w io.Writer, v Removed) {
	if v.DryRun {
		paragraph(w, "", "  ", "%s would be removed for good, which frees %s", v.Name, freed(v))
	} else {
		paragraph(w, "", "  ", "removed %s, which frees %s", v.Name, freed(v))
	}
	if v.Uploads > 0 {
		entry(w, "with the parts of %s", Count(v.Uploads, "unfinished upload"))
	}
}
