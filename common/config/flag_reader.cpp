#include "common/config/flag_reader.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <ostream>
#include <vector>

#include "common/base/error.h"
#include "common/base/nearest_name.h"
#include "common/config/config_value.h"

namespace tessera {
namespace {

struct ProgramText {
  std::string_view about;
  std::string_view examples;
};

ProgramText program_text(Program program) {
  switch (program) {
    case Program::kServe:
      return {
          "Starts a coordinator and its replicas (one mpirun job each) on this machine, "
          "supervises them, and serves the model over HTTP until SIGTERM or Ctrl-C.",
          "Examples:\n"
          "  tessera serve deploy/models/tiny-sdar --tp 2 --port 8080\n"
          "  tessera serve MODEL_DIR --config server.toml --max-running-requests 128\n"
          "  tessera serve MODEL_DIR --strategy-option accept_threshold=0.95\n"
          "\nThe page, the OpenAI API (/v1) and /metrics are at http://HOST:PORT. Ctrl-C or "
          "SIGTERM "
          "lets open\nrequests finish (--drain-timeout); a second one ends at once. Lost replicas "
          "are started again\n(--restart-budget), their requests go on with the same text.\n"
          "\nExit codes: 0 after a drain, 64 wrong configuration, 65 the model cannot be loaded, "
          "66 "
          "a device\nfailed, 69 no replica ever became ready, 70 a bug; else that of the "
          "coordinator."};
    case Program::kCoordinator:
      return {
          "The coordinator alone: HTTP server, tokenizer, scheduler. Ranks join it: start them "
          "with mpirun -n TP tessera-worker --coordinator ... on any machine.",
          "Example:\n"
          "  tessera-coordinator MODEL_DIR --tp 2 --port 8080 \\\n"
          "      --control-endpoint tcp://127.0.0.1:9000\n"
          "  mpirun -n 2 tessera-worker MODEL_DIR --coordinator tcp://127.0.0.1:9000"};
    case Program::kWorker:
      return {
          "One rank of a replica: holds its shard of the weights and of the KV pages, and "
          "computes. Started by mpirun; all ranks of one mpirun job are one replica.",
          "Examples:\n"
          "  mpirun -n 2 tessera-worker MODEL_DIR --coordinator tcp://10.0.0.1:9000\n"
          "\nThe coordinator in the same job (--role launcher, which comes first and takes no "
          "other flags;\nthe default is --role worker):\n"
          "  mpirun -n 1 tessera-worker --role launcher -- tessera-coordinator MODEL_DIR "
          "--tp 2 : \\\n"
          "      -n 2 tessera-worker MODEL_DIR\n"
          "SIGTERM to the launcher's process lets the coordinator drain. A lost rank ends the "
          "job.\n"
          "\nEnvironment: TESSERA_CONTROL_TOKEN (the secret, if there is no control_token_file), "
          "TESSERA_JOB_ID\n(a name for the job, unique at the coordinator; default: random).\n"
          "\nExit codes: 0 when the coordinator went down in order, 64 wrong configuration or "
          "refused by the\ncoordinator, 65 the model cannot be loaded, 66 a device or collective "
          "failed, 68 a rank or the\ncoordinator is lost, 70 a bug. mpirun passes on that of the "
          "process that failed first."};
  }
  TESSERA_CHECK(false, "program ", static_cast<int>(program));
}

/// The kind of value in --help: BYTES, TIME, INT, a choice list.
std::string type_name(const ConfigKey& key) {
  if (!key.choices.empty()) {
    std::string text;
    for (const std::string_view choice : key.choices) {
      text += (text.empty() ? "" : "|") + std::string(choice);
    }
    return text;
  }
  constexpr const char* kNames[] = {"true|false", "INT", "INT", "BYTES", "BYTES", "TEXT", "TIME"};
  static_assert(std::size(kNames) == std::variant_size_v<ConfigField>);
  return kNames[key.field.index()];
}

std::string help_text(const ConfigKey& key) {
  const ServerConfig defaults;
  std::string text(key.help);
  const std::string value = value_text(defaults, key);
  if (!value.empty()) {
    text += " [" + value + "]";
  } else if (!key.unset.empty()) {
    text += " [" + std::string(key.unset) + "]";
  }
  return text;
}

std::vector<std::string> known_flags(Program program) {
  std::vector<std::string> names = {"--config", "--strategy-option", "--help", "--version"};
  for (const ConfigKey& key : config_keys()) {
    if ((key.programs & program_bit(program)) != 0) names.push_back(flag_name(key.name));
  }
  return names;
}

void refuse_extras(Program program, const std::vector<std::string>& extras) {
  const auto flag = std::ranges::find_if(
      extras, [](const std::string& text) { return text.size() > 1 && text.front() == '-'; });
  if (flag != extras.end()) {
    const std::string given = flag->substr(0, flag->find('='));
    const std::vector<std::string> names = known_flags(program);
    const std::vector<std::string_view> known(names.begin(), names.end());
    throw Error(
        ErrorCode::kInvalidArgument,
        detail::concat("unknown flag ", given, "; did you mean ", nearest_name(given, known), "?"));
  }
  TESSERA_REQUIRE(extras.empty(), "unexpected argument \"", extras.front(),
                  "\": one model directory is all that goes without a flag");
}

/// `--name` alone, or `--name=true|false`: the word behind it is not its value.
void add_switch(CLI::App& app, const ConfigKey& key, Flags& flags) {
  const std::string name(key.name);
  app.add_flag(flag_name(key.name))
      ->description(help_text(key))
      ->each([&flags, name](const std::string& text) { flags.values[name] = text; })
      ->type_name("[=true|false]")
      ->group(std::string(key.section));
}

void add_options(CLI::App& app, Program program, Flags& flags, std::vector<std::string>& pairs) {
  app.add_option("--config", flags.config_file,
                 "TOML file with the keys of the flags below (underscores for dashes); flags win")
      ->type_name("FILE")
      ->group("Configuration file");
  for (const ConfigKey& key : config_keys()) {
    if ((key.programs & program_bit(program)) == 0) continue;
    const std::string name(key.name);
    // The model may also stand without its flag.
    const std::string names = flag_name(key.name) + (key.name == "model" ? ",model" : "");
    if (std::holds_alternative<bool ServerConfig::*>(key.field)) {
      add_switch(app, key, flags);
      continue;
    }
    app.add_option_function<std::string>(
           names, [&flags, name](const std::string& text) { flags.values[name] = text; },
           help_text(key))
        ->type_name(type_name(key))
        ->group(std::string(key.section));
  }
  if (program == Program::kWorker) return;
  app.add_option("--strategy-option", pairs,
                 "Option of the strategy for requests that do not set it, as NAME=VALUE; may be "
                 "given several times. In the file: the table strategy_options")
      ->type_name("NAME=VALUE")
      ->allow_extra_args(false)
      ->group("Decoding");
}

StrategyOptionValues parse_pairs(const std::vector<std::string>& pairs) {
  StrategyOptionValues values;
  for (const std::string& pair : pairs) {
    const std::size_t equals = pair.find('=');
    TESSERA_REQUIRE(equals != std::string::npos && equals > 0, "--strategy-option is \"", pair,
                    "\"; allowed: NAME=VALUE");
    values[pair.substr(0, equals)] = guess_value(pair.substr(equals + 1));
  }
  return values;
}

}  // namespace

std::string flag_name(std::string_view key) {
  std::string name = "--" + std::string(key);
  std::ranges::replace(name, '_', '-');
  return name;
}

std::optional<Flags> read_flags(Program program,
                                int argc,
                                const char* const* argv,
                                std::ostream& out) {
  const ProgramText text = program_text(program);
  CLI::App app{std::string(text.about), argv[0]};
  app.footer(std::string(text.examples));
  app.set_version_flag("--version", std::string(version()))->group("Help");
  app.set_help_flag("-h,--help", "Prints this help")->group("Help");
  app.get_formatter()->column_width(44);
  app.allow_extras();

  Flags flags;
  std::vector<std::string> pairs;
  add_options(app, program, flags, pairs);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    out << app.help();
    return std::nullopt;
  } catch (const CLI::CallForVersion&) {
    out << "tessera " << version() << "\n";
    return std::nullopt;
  } catch (const CLI::ParseError& error) {
    throw Error(ErrorCode::kInvalidArgument, error.what());
  }
  refuse_extras(program, app.remaining());
  flags.strategy_options = parse_pairs(pairs);
  return flags;
}

}  // namespace tessera
