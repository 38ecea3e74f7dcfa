//! Before and after of what a grant touched, and its way back into git. Pure.
