#pragma once

#include <string>

#include "coordinator/text/jinja_ast.h"
#include "coordinator/text/jinja_runtime.h"
#include "coordinator/text/jinja_value.h"

namespace tessera::jinja {

/// Renders a template.
/// @param context  A dict: the names that the template sees beside the builtins.
/// @throws Error{kInvalidArgument} "chat template line N: ...".
std::string render(Runtime& runtime, const Template& source, const Value& context);

}  // namespace tessera::jinja
