#pragma once

#include <string_view>

#include "coordinator/text/jinja_ast.h"

namespace tessera::jinja {

/// Parses a template. Statements: if / elif / else, for (filter, else, recursive), break, continue,
/// set (names, namespace attributes, blocks), macro, call, filter, with, generation, raw, comments.
/// Expressions: all of Jinja2's. Not supported, and refused: extends, block, include, import,
/// autoescape, trans, do.
///
/// @param source  Well-formed UTF-8, at most kMaxSourceBytes.
/// @throws Error{kInvalidArgument} "chat template line N: ...".
Template parse(std::string_view source);

}  // namespace tessera::jinja
