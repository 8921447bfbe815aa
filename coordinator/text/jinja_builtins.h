#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "coordinator/text/jinja_runtime.h"
#include "coordinator/text/jinja_value.h"

namespace tessera::jinja {

/// Filters: abs capitalize count d default dictsort first float indent int items join last length
/// list lower map max min reject rejectattr replace reverse round safe select selectattr sort
/// string sum title tojson trim unique upper.
/// Fails for an unknown name and for arguments that Jinja2 refuses.
Value apply_filter(Runtime& runtime,
                   const std::string& name,
                   const Value& input,
                   const Arguments& arguments);

/// Tests: boolean callable defined divisibleby eq equalto even false float ge gt in integer
/// iterable le lower lt mapping ne none number odd sameas sequence string true undefined upper, and
/// the operators == != < <= > >= by their signs.
bool apply_test(Runtime& runtime,
                const std::string& name,
                const Value& input,
                const Arguments& arguments);

/// A method of a string, list or dict, bound to it; none if there is no such method.
///   str   capitalize count endswith find isalnum isalpha isdigit islower isspace isupper
///         join lower lstrip replace rsplit rstrip split splitlines startswith strip title upper
///         removeprefix removesuffix
///   list  count index          dict  get items keys values
std::optional<Value> find_method(Runtime& runtime, const Value& object, std::string_view name);

/// What `object.name` gives: a method, else an entry; undefined if there is neither.
Value attribute_of(Runtime& runtime, const Value& object, const std::string& name);

/// What `object[key]` gives; undefined beyond the ends.
Value subscript_of(Runtime& runtime, const Value& object, const Value& key);

/// range, namespace, dict, raise_exception; none for another name.
std::optional<Value> find_global(Runtime& runtime, const std::string& name);

}  // namespace tessera::jinja
