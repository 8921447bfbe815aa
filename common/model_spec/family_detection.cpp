#include <algorithm>
#include <string>
#include <vector>

#include "common/base/error.h"
#include "common/model_spec/families.h"

namespace tessera {
namespace {

using Candidates = std::vector<const ModelFamily*>;

/// One way in which config.json says what the model is.
struct Clue {
  std::string text;  ///< As an error shows it; empty when config.json is silent.
  Candidates named;  ///< The families it fits; empty when it is foreign.
};

void add(std::string& list, const std::string& item) {
  list += (list.empty() ? "" : ", ") + item;
}

Candidates of_architectures(const std::vector<std::string>& names) {
  Candidates named;
  for (const ModelFamily& family : model_families()) {
    if (std::ranges::count(names, family.architecture) > 0) named.push_back(&family);
  }
  return named;
}

Clue architectures_clue(const ConfigFields& config) {
  const std::vector<std::string> names = config.strings("architectures");
  std::string list;
  for (const std::string& name : names) add(list, name);
  return {names.empty() ? "" : "architectures [" + list + "]", of_architectures(names)};
}

Clue model_type_clue(const ConfigFields& config) {
  const auto type = config.optional_string("model_type");
  if (!type) return {};
  Clue clue{"model_type \"" + *type + "\"", {}};
  for (const ModelFamily& family : model_families()) {
    if (family.model_type == *type) clue.named.push_back(&family);
  }
  return clue;
}

// {"AutoModelForCausalLM": "modeling_sdar.SDARForCausalLM", ...}: classes of the checkpoint's code.
Clue auto_map_clue(const ConfigFields& config) {
  std::vector<std::string> classes;
  std::string list;
  for (const auto& [role, path] : config.raw("auto_map").items()) {
    if (!path.is_string()) continue;  // tokenizers: a list
    const std::string text = path.get<std::string>();
    classes.push_back(text.substr(text.rfind('.') + 1));
    add(list, classes.back());
  }
  return {classes.empty() ? "" : "auto_map [" + list + "]", of_architectures(classes)};
}

std::string known_families() {
  std::string list;
  for (const ModelFamily& family : model_families()) {
    std::string entry = detail::concat(family.name, " (", family.architecture);
    if (!family.model_type.empty()) entry += detail::concat(", model_type ", family.model_type);
    add(list, entry + ")");
  }
  return list;
}

Candidates common_to(const Candidates& a, const Candidates& b) {
  Candidates both;
  std::ranges::copy_if(a, std::back_inserter(both), [&](const ModelFamily* family) {
    return std::ranges::count(b, family) > 0;
  });
  return both;
}

}  // namespace

const ModelFamily& find_family(const ConfigFields& config) {
  const Clue clues[] = {architectures_clue(config), model_type_clue(config), auto_map_clue(config)};
  Candidates fitting;
  std::string said;
  for (const Clue& clue : clues) {
    if (!clue.text.empty()) add(said, clue.text);
    if (clue.named.empty()) continue;
    const bool is_first = fitting.empty();
    fitting = is_first ? clue.named : common_to(fitting, clue.named);
    TESSERA_REQUIRE(!fitting.empty(), config.file(), ": ", said, " contradict each other");
  }
  TESSERA_REQUIRE(!fitting.empty(), config.file(), ": ",
                  said.empty() ? "neither architectures, model_type nor auto_map is there"
                               : said + " name no known family",
                  "; known are ", known_families());
  std::string names;
  for (const ModelFamily* family : fitting) add(names, std::string(family->architecture));
  TESSERA_REQUIRE(fitting.size() == 1, config.file(), ": ", said,
                  " fit more than one family; set architectures to one of ", names);
  return *fitting.front();
}

}  // namespace tessera
