// How fast text becomes tokens, tokens text, and a conversation a prompt. library_speed.py
// measures the Hugging Face tokenizers library on the same text. Rates are per second of CPU time.

#include <benchmark/benchmark.h>

#include <algorithm>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "coordinator/text/read_file.h"
#include "coordinator/text/text_model.h"

namespace tessera::benchmarks {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMessageBytes = 2000;
constexpr int kNumMessages = 10;

const fs::path kRoot = TESSERA_SOURCE_DIR;

// The pages of docs/ and the problems of the accuracy test.
std::string read_text() {
  std::vector<fs::path> paths;
  for (const auto& entry : fs::recursive_directory_iterator(kRoot / "docs")) {
    if (entry.path().extension() == ".md") paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  paths.push_back(kRoot / "tests/golden/problems/public_test.jsonl");
  std::string text;
  for (const fs::path& path : paths) text += read_file(path);
  return text;
}

// `text` in parts of about the size of a message, cut at line ends.
std::vector<std::string> messages_of(std::string_view text) {
  std::vector<std::string> messages;
  while (!text.empty()) {
    const std::size_t line_end = text.find('\n', std::min(kMessageBytes, text.size() - 1));
    const std::size_t size = line_end == std::string_view::npos ? text.size() : line_end + 1;
    messages.emplace_back(text.substr(0, size));
    text.remove_prefix(size);
  }
  return messages;
}

void encode(benchmark::State& state,
            const Tokenizer& tokenizer,
            const std::vector<std::string>& texts) {
  std::int64_t bytes = 0;
  for (auto _ : state) {
    for (const std::string& text : texts) {
      benchmark::DoNotOptimize(tokenizer.encode(text));
      bytes += static_cast<std::int64_t>(text.size());
    }
  }
  state.counters["MB/s"] =
      benchmark::Counter(static_cast<double>(bytes) * 1e-6, benchmark::Counter::kIsRate);
}

void decode(benchmark::State& state, const Tokenizer& tokenizer, const std::string& text) {
  const std::vector<TokenId> ids = tokenizer.encode(text);
  std::size_t tokens = 0;
  for (auto _ : state) {
    benchmark::DoNotOptimize(tokenizer.decode(ids));
    tokens += ids.size();
  }
  state.counters["Mtokens/s"] =
      benchmark::Counter(static_cast<double>(tokens) * 1e-6, benchmark::Counter::kIsRate);
}

void render(benchmark::State& state, const TextModel& model) {
  using Json = nlohmann::ordered_json;
  Json messages = Json::array({{{"role", "system"}, {"content", "Answer in one sentence."}}});
  while (messages.size() < kNumMessages) {
    messages.push_back({{"role", messages.size() % 2 == 1 ? "user" : "assistant"},
                        {"content",
                         "A farm has 19 goats and 18 spiders. How many legs do they have in "
                         "total? The goats have 19*4=76 legs, the spiders 18*8=144."}});
  }
  for (auto _ : state) benchmark::DoNotOptimize(model.render_chat(messages));
}

void register_tokenizer(const std::string& name, const fs::path& path, const std::string& text) {
  const Tokenizer tokenizer = Tokenizer::load(path);
  const auto add = [&](const std::string& what, auto run) {
    benchmark::RegisterBenchmark((what + "/" + name).c_str(), run)->Unit(benchmark::kMillisecond);
  };
  add("encode/messages", [tokenizer, texts = messages_of(text)](benchmark::State& state) {
    encode(state, tokenizer, texts);
  });
  add("encode/one_text", [tokenizer, texts = std::vector{text}](benchmark::State& state) {
    encode(state, tokenizer, texts);
  });
  add("decode", [tokenizer, text](benchmark::State& state) { decode(state, tokenizer, text); });
}

int run(int argc, char** argv) {
  const std::string text = read_text();
  const fs::path goldens = kRoot / "tests/golden/text/tokenizers";
  register_tokenizer("byte_level", kRoot / "deploy/models/tiny-sdar/tokenizer.json", text);
  register_tokenizer("llama3", goldens / "llama3.json", text);
  register_tokenizer("gemma", goldens / "gemma.json", text);
  register_tokenizer("llama2", goldens / "llama2.json", text);
  for (const char* name : {"tiny-sdar", "tiny-llada2"}) {
    const TextModel model = load_text(kRoot / "deploy/models" / name);
    benchmark::RegisterBenchmark((std::string("render/") + name).c_str(),
                                 [model](benchmark::State& state) { render(state, model); })
        ->Unit(benchmark::kMicrosecond);
  }
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}

}  // namespace
}  // namespace tessera::benchmarks

int main(int argc, char** argv) {
  return tessera::benchmarks::run(argc, argv);
}
