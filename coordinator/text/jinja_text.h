#pragma once

#include <string>
#include <vector>

#include "coordinator/text/jinja_runtime.h"
#include "coordinator/text/jinja_value.h"

namespace tessera::jinja {

/// Python's str(): what {{ value }} prints. Undefined prints as nothing.
std::string to_text(Runtime& runtime, const Value& value);

/// Python's repr(): how a value looks inside a printed list or dict.
std::string to_repr(Runtime& runtime, const Value& value);

/// How json.dumps of Hugging Face transformers lays out a document.
struct JsonLayout {
  int indent = -1;  ///< < 0: one line
  std::string item_separator = ", ";
  std::string key_separator = ": ";
  bool sort_keys = false;
};

/// json.dumps(value, ensure_ascii=False). Undefined values and functions are refused.
std::string to_json(Runtime& runtime, const Value& value, const JsonLayout& layout);

/// The items that `for` and filters see: of a list, the keys of a dict, the characters of a string;
/// nothing of undefined. Fails for all others.
std::vector<Value> items_of(Runtime& runtime, const Value& value);

/// Python's <. Fails for types that Python does not order.
bool is_less(const Runtime& runtime, const Value& a, const Value& b);

/// Python's `item in container`.
bool contains(const Runtime& runtime, const Value& container, const Value& item);

}  // namespace tessera::jinja
