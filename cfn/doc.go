// Package cfn is the CloudFormation language as Go values: typed resources
// (generated, one package per service below this one), values that are
// literals or intrinsic functions, parameters, conditions, outputs, and
// deterministic template JSON.
//
// A misspelt property or a value of the wrong type does not compile.
// [Template.Build] finds what the compiler can't: a missing required property,
// a literal outside its enumeration, an unknown attribute, a reference to
// nothing or to the wrong kind of thing, cycles, CloudFormation's limits, and
// parameters or conditions nobody uses. It reports all faults at once, each
// with its path.
//
// Invariants: the package is pure (no files, clock, environment or network);
// the same calls give the same bytes; a zero [Value], [List], nil pointer,
// slice, map or any means "property absent".
//
// Limits: no mappings, transforms, macros, exports or nested stacks; patterns,
// lengths and ranges of literals are not checked, because the resource facts
// this package is generated from don't hold them.
package cfn
