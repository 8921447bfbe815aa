#include "coordinator/text/vocabulary_files.h"

#include <sstream>
#include <string>
#include <string_view>

#include "coordinator/text/json_field.h"
#include "coordinator/text/read_file.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::string_view kQwen2Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*)"
    R"(|\s*[\r\n]+|\s+(?!\S)|\s+)";

// One "left right" a line, after an optional "#version: 0.2".
json read_merges(const fs::path& path) {
  json merges = json::array();
  std::istringstream lines(read_file(path));
  bool is_first = true;
  for (std::string line; std::getline(lines, line); is_first = false) {
    if (line.ends_with('\r')) line.pop_back();
    if (line.empty() || (is_first && line.starts_with("#version"))) continue;
    merges.push_back(line);
  }
  return merges;
}

// {"151643": {"content": ..., "special": ...}} as the list that tokenizer.json has.
json read_added_tokens(const JsonField& field) {
  json added = json::array();
  if (field.is_null()) return added;
  for (const auto& [id, token] : field.object().items()) {
    const bool is_number =
        !id.empty() && id.size() < 10 && id.find_first_not_of("0123456789") == std::string::npos;
    TESSERA_REQUIRE(is_number, field.path(), " has a key \"", id, "\", which is no token id");
    json entry = field.member(id).object();
    entry["id"] = std::stol(id);
    added.push_back(std::move(entry));
  }
  return added;
}

json read_document(const fs::path& model_dir) {
  const fs::path config_path = model_dir / "tokenizer_config.json";
  const json config_document = parse_json(read_file(config_path), config_path.string());
  const JsonField config(config_document, config_path.string());
  const JsonField kind = config.member("tokenizer_class");
  const bool known = kind.string() == "Qwen2Tokenizer" || kind.string() == "Qwen2TokenizerFast" ||
                     kind.string() == "DreamTokenizer";
  TESSERA_REQUIRE(known, kind.path(), " is \"", kind.string(), "\", for which ", model_dir.string(),
                  " needs a tokenizer.json");
  const fs::path vocab_path = model_dir / "vocab.json";
  const json byte_level = {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}};
  const json split = {
      {"type", "Split"}, {"pattern", {{"Regex", kQwen2Pattern}}}, {"behavior", "Isolated"}};
  json document;
  document["model"] = {{"type", "BPE"},
                       {"vocab", parse_json(read_file(vocab_path), vocab_path.string())},
                       {"merges", read_merges(model_dir / "merges.txt")}};
  document["added_tokens"] = read_added_tokens(config.member("added_tokens_decoder"));
  document["normalizer"] = {{"type", "NFC"}};
  document["pre_tokenizer"] = {{"type", "Sequence"},
                               {"pretokenizers", json::array({split, byte_level})}};
  document["decoder"] = {{"type", "ByteLevel"}};
  return document;
}

}  // namespace

Tokenizer load_tokenizer(const fs::path& model_dir) {
  const fs::path whole = model_dir / "tokenizer.json";
  if (fs::exists(whole) || !fs::exists(model_dir / "vocab.json")) return Tokenizer::load(whole);
  return Tokenizer::from_json(read_document(model_dir).dump(),
                              (model_dir / "vocab.json").string() + ", merges.txt");
}

}  // namespace tessera
