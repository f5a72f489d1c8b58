// core.h - no memory of ours on a disk when we crash: it holds keys, rows and weights.
#ifndef TRIB_BASE_CORE_H
#define TRIB_BASE_CORE_H

// From now on the process leaves no core file, wherever the system puts them; no debugger but root's
// can attach. Does nothing in a build with AddressSanitizer, which looks for leaks like a debugger.
void trib_core_forbid(void);

#endif // TRIB_BASE_CORE_H
