#pragma once

#include <string>

#include "coordinator/text/jinja_runtime.h"
#include "coordinator/text/jinja_value.h"

namespace tessera::jinja {

/// a op b for + - * / // % ** ~, with Python's rules for numbers, strings and lists.
Value apply_operator(Runtime& runtime, const std::string& op, const Value& a, const Value& b);

/// -a or +a.
Value apply_sign(Runtime& runtime, const std::string& op, const Value& a);

/// a op b for == != < <= > >= in "not in".
bool apply_comparison(Runtime& runtime, const std::string& op, const Value& a, const Value& b);

/// object[begin : end : step]; none stands for an absent bound.
Value slice_of(
    Runtime& runtime, const Value& object, const Value& begin, const Value& end, const Value& step);

}  // namespace tessera::jinja
