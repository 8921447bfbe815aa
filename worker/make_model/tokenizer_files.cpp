#include "worker/make_model/tokenizer_files.h"

#include <fstream>
#include <string>

#include "common/base/error.h"
#include "common/model_spec/config_fields.h"
#include "common/model_spec/token_facts.h"
#include "worker/make_model/text_file.h"

namespace tessera {

namespace fs = std::filesystem;

void copy_tokenizer(const fs::path& from, const fs::path& to) {
  TESSERA_REQUIRE(fs::exists(from / "tokenizer.json"), from.string(), ": has no tokenizer.json");
  for (const char* name :
       {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
        "vocab.json", "merges.txt", "chat_template.jinja", "generation_config.json"}) {
    if (fs::exists(from / name)) fs::copy_file(from / name, to / name);
  }
}

void pad_tokenizer(const fs::path& model_dir, std::int32_t vocab_size) {
  const fs::path path = model_dir / "tokenizer.json";
  const std::int32_t size = read_tokenizer_size(model_dir).value();
  // Not ordered_json: it looks through all members for every one that is added.
  nlohmann::json tokenizer = nlohmann::json::parse(std::ifstream(path));
  nlohmann::json& vocab = tokenizer["model"]["vocab"];
  for (std::int32_t id = size; id < vocab_size; ++id) {
    vocab["<|extra_" + std::to_string(id) + "|>"] = id;
  }
  write_text(path, tokenizer.dump());
  for (const char* name : {"vocab.json", "merges.txt"}) fs::remove(model_dir / name);
}

void adopt_token_ids(const fs::path& tokenizer_dir, nlohmann::ordered_json& config) {
  if (!fs::exists(tokenizer_dir / "config.json")) return;
  const ConfigFields fields(tokenizer_dir / "config.json");
  for (const char* name :
       {"bos_token_id", "eos_token_id", "pad_token_id", "mask_token_id", "block_size"}) {
    if (fields.has(name)) config[name] = fields.raw(name);
  }
}

}  // namespace tessera
