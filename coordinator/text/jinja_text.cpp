#include "coordinator/text/jinja_text.h"

#include <algorithm>
#include <cstdio>

#include "coordinator/text/python_text.h"

namespace tessera::jinja {
namespace {

std::string joined(Runtime& runtime,
                   const List& list,
                   const std::string& open,
                   const std::string& close) {
  std::string text = open;
  for (std::size_t i = 0; i < list.items.size(); ++i) {
    if (i > 0) text += ", ";
    text += to_repr(runtime, list.items[i]);
  }
  if (list.is_tuple && list.items.size() == 1) text += ",";
  return text + close;
}

std::string dict_text(Runtime& runtime, const Dict& dict) {
  std::string text = "{";
  for (const auto& [key, value] : dict.entries) {
    if (text.size() > 1) text += ", ";
    text += python::repr(key) + ": " + to_repr(runtime, value);
  }
  return text + "}";
}

std::string json_string(const std::string& text) {
  std::string result = "\"";
  for (const char c : text) {
    switch (c) {
      case '"': result += "\\\""; break;
      case '\\': result += "\\\\"; break;
      case '\n': result += "\\n"; break;
      case '\r': result += "\\r"; break;
      case '\t': result += "\\t"; break;
      case '\b': result += "\\b"; break;
      case '\f': result += "\\f"; break;
      default:
        if (static_cast<unsigned char>(c) >= 0x20) {
          result += c;
        } else {
          char escape[8];
          std::snprintf(escape, sizeof escape, "\\u%04x", static_cast<unsigned>(c));
          result += escape;
        }
    }
  }
  return result + "\"";
}

class JsonWriter {
 public:
  JsonWriter(Runtime& runtime, const JsonLayout& layout) : runtime_(runtime), layout_(layout) {}

  void write(const Value& value, int level) {
    runtime_.charge_step();
    if (const std::string* text = value.if_string()) {
      runtime_.charge(text->size());
      out += json_string(*text);
    } else if (const List* list = value.if_list()) {
      write_list(*list, level);
    } else if (const Dict* dict = value.if_dict()) {
      write_dict(*dict, level);
    } else if (value.is_none()) {
      out += "null";
    } else if (const bool* flag = value.if_boolean()) {
      out += *flag ? "true" : "false";
    } else if (value.as_number().has_value()) {
      out += to_text(runtime_, value);
    } else {
      runtime_.fail("a value of type ", value.type_name(), " cannot be written as JSON");
    }
  }

  std::string out;

 private:
  void write_list(const List& list, int level) {
    if (list.items.empty()) {
      out += "[]";
      return;
    }
    out += "[";
    for (std::size_t i = 0; i < list.items.size(); ++i) {
      separate(i > 0, level + 1);
      write(list.items[i], level + 1);
    }
    new_line(level);
    out += "]";
  }

  void write_dict(const Dict& dict, int level) {
    if (dict.entries.empty()) {
      out += "{}";
      return;
    }
    out += "{";
    for (std::size_t i = 0; i < dict.entries.size(); ++i) {
      const auto& [key, value] = dict.entries[layout_.sort_keys ? dict.by_key[i] : i];
      separate(i > 0, level + 1);
      out += json_string(key) + layout_.key_separator;
      write(value, level + 1);
    }
    new_line(level);
    out += "}";
  }

  void separate(bool is_later, int level) {
    if (is_later) out += layout_.item_separator;
    new_line(level);
  }

  void new_line(int level) {
    if (layout_.indent >= 0) {
      out += "\n" + std::string(static_cast<std::size_t>(layout_.indent * level), ' ');
    }
  }

  Runtime& runtime_;
  const JsonLayout& layout_;
};

}  // namespace

std::string to_text(Runtime& runtime, const Value& value) {
  const std::string* text = value.if_string();
  if (text == nullptr) return value.is_undefined() ? "" : to_repr(runtime, value);
  runtime.charge(text->size());
  return *text;
}

std::string to_repr(Runtime& runtime, const Value& value) {
  runtime.charge_step();
  if (const std::string* text = value.if_string()) {
    runtime.charge(text->size());
    return python::repr(*text);
  }
  if (value.is_undefined()) return "Undefined";
  if (value.is_none()) return "None";
  if (const bool* flag = value.if_boolean()) return *flag ? "True" : "False";
  if (const std::int64_t* integer = value.if_integer()) return std::to_string(*integer);
  if (const double* number = value.if_number()) return python::repr(*number);
  if (const List* list = value.if_list()) {
    return list->is_tuple ? joined(runtime, *list, "(", ")") : joined(runtime, *list, "[", "]");
  }
  if (const Dict* dict = value.if_dict()) return dict_text(runtime, *dict);
  runtime.fail("a ", value.type_name(), " cannot be printed");
}

std::string to_json(Runtime& runtime, const Value& value, const JsonLayout& layout) {
  JsonWriter writer(runtime, layout);
  writer.write(value, 0);
  runtime.charge(writer.out.size());
  return std::move(writer.out);
}

std::vector<Value> items_of(Runtime& runtime, const Value& value) {
  std::vector<Value> items;
  if (const List* list = value.if_list()) {
    items = list->items;
  } else if (const Dict* dict = value.if_dict()) {
    for (const auto& entry : dict->entries) items.push_back(Value::string(entry.first));
  } else if (const std::string* text = value.if_string()) {
    for (std::string& c : python::characters(*text)) items.push_back(Value::string(std::move(c)));
  } else if (!value.is_undefined()) {
    runtime.fail("'", value.type_name(), "' object is not iterable");
  }
  runtime.charge(items.size() * sizeof(Value));
  return items;
}

bool is_less(const Runtime& runtime, const Value& a, const Value& b) {
  if (a.as_integer().has_value() && b.as_integer().has_value()) {
    return *a.as_integer() < *b.as_integer();
  }
  if (a.as_number().has_value() && b.as_number().has_value())
    return *a.as_number() < *b.as_number();
  if (a.if_string() != nullptr && b.if_string() != nullptr) return *a.if_string() < *b.if_string();
  if (a.if_list() != nullptr && b.if_list() != nullptr) {
    const auto& x = a.if_list()->items;
    const auto& y = b.if_list()->items;
    for (std::size_t i = 0; i < std::min(x.size(), y.size()); ++i) {
      if (!x[i].equals(y[i])) return is_less(runtime, x[i], y[i]);
    }
    return x.size() < y.size();
  }
  runtime.fail("'<' is not supported between ", a.type_name(), " and ", b.type_name());
}

bool contains(const Runtime& runtime, const Value& container, const Value& item) {
  if (const std::string* text = container.if_string()) {
    const std::string* part = item.if_string();
    if (part == nullptr) runtime.fail("'in <string>' needs a string, not ", item.type_name());
    return text->find(*part) != std::string::npos;
  }
  if (const List* list = container.if_list()) {
    return std::any_of(list->items.begin(), list->items.end(),
                       [&](const Value& value) { return value.equals(item); });
  }
  if (const Dict* dict = container.if_dict()) {
    return item.if_string() != nullptr && dict->find(*item.if_string()) != nullptr;
  }
  if (container.is_undefined()) return false;
  runtime.fail("'", container.type_name(), "' object is not a container");
}

}  // namespace tessera::jinja
