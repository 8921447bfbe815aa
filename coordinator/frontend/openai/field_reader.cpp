#include "coordinator/frontend/openai/field_reader.h"

#include "coordinator/text/utf8.h"

namespace tessera {
namespace {

using nlohmann::json;

constexpr std::size_t kMaxBriefBytes = 80;
constexpr int kMaxDepth = 64;

// Values are copied and compared recursively later on: the stack is the client's otherwise.
bool is_too_deep(std::string_view body) {
  int depth = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < body.size(); ++i) {
    const char c = body[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (++depth > kMaxDepth) return true;
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return false;
}

ApiError malformed(std::string message) {
  return {.code = "malformed_json",
          .message = std::move(message),
          .param = {},
          .retry_after_seconds = {}};
}

}  // namespace

const json* FieldReader::find(std::string_view name) {
  read_.emplace(name);
  const auto field = object_.find(name);
  return field == object_.end() || field->is_null() ? nullptr : &*field;
}

std::optional<std::int64_t> FieldReader::integer(std::string_view name,
                                                 std::int64_t minimum,
                                                 std::int64_t maximum) {
  const json* value = find(name);
  if (value == nullptr) return std::nullopt;
  const bool fits = value->is_number_unsigned()
                        ? value->get<std::uint64_t>() <= static_cast<std::uint64_t>(maximum) &&
                              maximum >= 0 && value->get<std::int64_t>() >= minimum
                        : value->is_number_integer() && value->get<std::int64_t>() >= minimum &&
                              value->get<std::int64_t>() <= maximum;
  if (!fits) {
    refuse(name, "must be an integer in [" + std::to_string(minimum) + ", " +
                     std::to_string(maximum) + "]");
    return std::nullopt;
  }
  return value->get<std::int64_t>();
}

std::optional<std::uint64_t> FieldReader::unsigned_integer(std::string_view name) {
  const json* value = find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_number_unsigned()) {
    refuse(name, "must be an integer in [0, 18446744073709551615]");
    return std::nullopt;
  }
  return value->get<std::uint64_t>();
}

std::optional<double> FieldReader::number(std::string_view name) {
  const json* value = find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_number()) {
    refuse(name, "must be a number");
    return std::nullopt;
  }
  return value->get<double>();
}

std::optional<bool> FieldReader::flag(std::string_view name) {
  const json* value = find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_boolean()) {
    refuse(name, "must be true or false");
    return std::nullopt;
  }
  return value->get<bool>();
}

std::optional<std::string> FieldReader::text(std::string_view name) {
  const json* value = find(name);
  if (value == nullptr) return std::nullopt;
  if (!value->is_string()) {
    refuse(name, "must be a string");
    return std::nullopt;
  }
  return value->get<std::string>();
}

void FieldReader::refuse(std::string_view name, const std::string& rule) {
  const std::string param = prefix_ + std::string(name);
  const auto field = object_.find(name);
  fail(invalid_value(
      param, param + " " + rule + (field == object_.end() ? "" : ", got " + brief(*field))));
}

void FieldReader::fail(ApiError error) {
  if (!error_) error_ = std::move(error);
}

std::vector<std::string> FieldReader::unread_names() const {
  std::vector<std::string> names;
  for (const auto& field : object_.items()) {
    if (!read_.contains(field.key())) names.push_back(field.key());
  }
  return names;
}

std::string brief(const json& value) {
  // A container may be megabytes: its kind says enough.
  if (value.is_object()) return "an object";
  if (value.is_array()) return "a list of " + std::to_string(value.size());
  if (!value.is_string()) return value.dump();
  std::string text = value.get<std::string>();
  const bool is_long = text.size() > kMaxBriefBytes;
  if (is_long) text.resize(kMaxBriefBytes);
  // The cut may go through a character; `ignore` drops the rest of it.
  return json(text).dump(-1, ' ', false, json::error_handler_t::ignore) + (is_long ? "..." : "");
}

Parsed<json> parse_json_object(std::string_view body) {
  if (const auto offset = find_invalid_utf8(body)) {
    return malformed("the body is not valid UTF-8 at byte " + std::to_string(*offset));
  }
  if (is_too_deep(body)) {
    return malformed("the body is nested deeper than " + std::to_string(kMaxDepth) + " levels");
  }
  try {
    json value = json::parse(body);
    if (!value.is_object()) return malformed("the body must be a JSON object, got " + brief(value));
    return value;
  } catch (const json::parse_error& error) {
    return malformed("the body is not valid JSON at byte " + std::to_string(error.byte) +
                     (body.empty() ? ": it is empty" : ""));
  } catch (const json::out_of_range&) {
    return malformed("the body holds a number beyond the range of a double");
  }
}

}  // namespace tessera
