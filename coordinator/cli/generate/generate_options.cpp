#include "coordinator/cli/generate/generate_options.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <ostream>
#include <string_view>

#include "common/base/error.h"

namespace tessera {
namespace {

using nlohmann::ordered_json;

constexpr const char* kAbout =
    "Answers one prompt and prints the text as it freezes. Starts a private server for MODEL_DIR, "
    "or asks a running one with --server. The text goes to standard output, all else to standard "
    "error.";

constexpr const char* kUsage =
    "Usage: tessera generate MODEL_DIR PROMPT [flags] [-- flags of tessera serve]\n"
    "       tessera generate --server URL PROMPT [flags]\n"
    "\nA PROMPT of - is read from standard input.\n";

constexpr const char* kExamples =
    "Examples:\n"
    "  tessera generate deploy/models/tiny-sdar \"A farm has 19 goats. How many legs is that?\"\n"
    "  tessera generate deploy/models/tiny-sdar --show-denoising \"Copy this text: a b c\"\n"
    "  tessera generate --server http://127.0.0.1:8080 --max-tokens 200 \"Hello\"\n"
    "  echo \"Once upon\" | tessera generate --server http://127.0.0.1:8080 --raw -\n"
    "  tessera generate MODEL_DIR \"Hello\" --decoding accept_threshold=0.95 -- --tp 2\n"
    "\nExit codes: 0 after a whole answer, 1 when the request failed, 64 for wrong arguments.";

/// CLI11 would show the two forms of the arguments as one list of words.
class GenerateHelp : public CLI::Formatter {
 public:
  std::string make_usage(const CLI::App*, std::string) const override { return kUsage; }
  std::string make_positionals(const CLI::App*) const override { return ""; }
};

/// Values that are filled in one by one and become options at the end.
struct Raw {
  std::vector<std::string> words;
  std::string strategy;
  std::optional<std::int64_t> block_size;
  std::optional<std::int64_t> buffer_size;
  std::optional<std::int64_t> max_nfe;
  std::vector<std::string> pairs;
};

void add_general_flags(CLI::App& app, GenerateOptions& options, Raw& raw) {
  app.add_option("words", raw.words);  // model directory and prompt, see take_words
  app.add_option("--server", options.server, "URL of a running server, http://HOST:PORT")
      ->type_name("URL")
      ->group("Server");
  app.add_option("--api-key-file", options.api_key_file, "File whose first line is the API key")
      ->type_name("FILE")
      ->group("Server");
  app.add_option("--model", options.model, "Name of the model on the server [default]")
      ->type_name("NAME")
      ->group("Server");
  app.add_flag("--raw", options.raw, "Send the prompt as it is, without the chat template")
      ->group("Prompt and output");
  app.add_option("--system", options.system, "System message before the prompt")
      ->type_name("TEXT")
      ->group("Prompt and output");
  app.add_flag(
         "--show-denoising", options.show_denoising,
         "Redraw the text with its masks while blocks fill: frozen text normal, provisional "
         "text dim, masks as shaded cells. Needs a terminal; elsewhere the text is printed as it "
         "freezes")
      ->group("Prompt and output");
}

void add_sampling_flags(CLI::App& app, GenerateOptions& options, Raw& raw) {
  const auto add = [&](const char* flag, auto& value, const char* type, const char* help) {
    app.add_option(flag, value, help)->type_name(type)->group("Sampling and decoding");
  };
  add("--max-tokens", options.max_tokens, "INT", "Most tokens of the answer [the server's]");
  add("--temperature", options.temperature, "NUMBER", "0 is greedy [the checkpoint's, else 0]");
  add("--top-p", options.top_p, "NUMBER", "Sample from the likeliest tokens of this mass");
  add("--top-k", options.top_k, "INT", "Sample from this many likeliest tokens");
  add("--seed", options.seed, "INT", "Of the random numbers [drawn, and printed at the end]");
  add("--strategy", raw.strategy, "NAME", "Decoding strategy [the server's]");
  add("--block-size", raw.block_size, "INT", "Tokens per block [the server's]");
  add("--buffer-size", raw.buffer_size, "INT", "Blocks denoised side by side [the server's]");
  add("--max-nfe", raw.max_nfe, "INT", "Most forward passes [none]");
  app.add_option("--decoding", raw.pairs,
                 "Another option of the strategy, as NAME=VALUE; may be given several times. "
                 "GET /v1/models lists all of them")
      ->type_name("NAME=VALUE")
      ->allow_extra_args(false)
      ->group("Sampling and decoding");
}

void take_decoding(const Raw& raw, GenerateOptions& options) {
  ordered_json& decoding = options.decoding;
  if (!raw.strategy.empty()) decoding["strategy"] = raw.strategy;
  if (raw.block_size) decoding["block_size"] = *raw.block_size;
  if (raw.buffer_size) decoding["buffer_size"] = *raw.buffer_size;
  if (raw.max_nfe) decoding["max_nfe"] = *raw.max_nfe;
  for (const std::string& pair : raw.pairs) {
    const std::size_t equals = pair.find('=');
    TESSERA_REQUIRE(equals != std::string::npos && equals > 0, "--decoding is \"", pair,
                    "\"; allowed: NAME=VALUE");
    const std::string text = pair.substr(equals + 1);
    const ordered_json value = ordered_json::parse(text, nullptr, /*allow_exceptions=*/false);
    // What is no JSON value is a text: names of choices need no quotes.
    decoding[pair.substr(0, equals)] = value.is_discarded() ? ordered_json(text) : value;
  }
}

void take_words(const std::vector<std::string>& words, GenerateOptions& options) {
  if (!options.server.empty()) {
    TESSERA_REQUIRE(words.size() == 1, "with --server give the prompt alone, in quotes; got ",
                    words.size(), " arguments");
    TESSERA_REQUIRE(options.serve_flags.empty(), "flags behind -- are for a private server, not ",
                    "for --server");
    options.prompt = words[0];
    return;
  }
  TESSERA_REQUIRE(words.size() == 2, "give a model directory and a prompt in quotes, or --server ",
                  "URL and a prompt; got ", words.size(), " arguments (see --help)");
  options.model_dir = words[0];
  options.prompt = words[1];
}

}  // namespace

std::optional<GenerateOptions> parse_generate_options(int argc,
                                                      const char* const* argv,
                                                      std::ostream& out) {
  GenerateOptions options;
  const char* const* end = argv + argc;
  const char* const* separator = std::find(argv, end, std::string_view("--"));
  if (separator != end) options.serve_flags.assign(separator + 1, end);

  Raw raw;
  CLI::App app{kAbout, "tessera generate"};
  app.footer(kExamples);
  app.set_help_flag("-h,--help", "Prints this help")->group("Help");
  app.formatter(std::make_shared<GenerateHelp>());
  app.get_formatter()->column_width(30);
  add_general_flags(app, options, raw);
  add_sampling_flags(app, options, raw);
  try {
    app.parse(static_cast<int>(separator - argv), argv);
  } catch (const CLI::CallForHelp&) {
    out << app.help();
    return std::nullopt;
  } catch (const CLI::ParseError& error) {
    throw Error(ErrorCode::kInvalidArgument, std::string(error.what()) + " (see --help)");
  }
  TESSERA_REQUIRE(!options.raw || options.system.empty(),
                  "--system needs the chat template, which --raw leaves out");
  take_words(raw.words, options);
  take_decoding(raw, options);
  return options;
}

std::string generate_target(const GenerateOptions& options) {
  return options.raw ? "/v1/completions" : "/v1/chat/completions";
}

ordered_json generate_body(const GenerateOptions& options,
                           const std::string& prompt,
                           bool with_edits) {
  ordered_json body = {{"model", options.model}};
  if (options.raw) {
    body["prompt"] = prompt;
  } else {
    body["messages"] = ordered_json::array();
    if (!options.system.empty()) {
      body["messages"].push_back({{"role", "system"}, {"content", options.system}});
    }
    body["messages"].push_back({{"role", "user"}, {"content", prompt}});
  }
  const auto set = [&](const char* name, const auto& value) {
    if (value) body[name] = *value;
  };
  set("max_tokens", options.max_tokens);
  set("temperature", options.temperature);
  set("top_p", options.top_p);
  set("top_k", options.top_k);
  set("seed", options.seed);
  body["stream"] = true;
  body["stream_options"] = {{"include_usage", true}};
  ordered_json decoding = options.decoding;
  if (with_edits) decoding["stream"] = "edits";
  if (!decoding.empty()) body["decoding"] = std::move(decoding);
  return body;
}

}  // namespace tessera
