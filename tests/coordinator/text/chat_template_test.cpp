#include "coordinator/text/chat_template.h"

#include <gtest/gtest.h>

#include <fstream>
#include <random>

#include "coordinator/text/text_model.h"
#include "tests/support/error_matchers.h"

namespace tessera {
namespace {

using Json = nlohmann::ordered_json;

const Json& goldens() {
  static const Json kGoldens = [] {
    std::ifstream file(TESSERA_SOURCE_DIR "/tests/golden/text/chat_templates.json");
    return Json::parse(file);
  }();
  return kGoldens;
}

std::optional<std::string> rendered(const std::string& source, const Json& context) {
  try {
    return ChatTemplate(source).render(context);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    EXPECT_EQ(std::string(error.what()).rfind("chat template line ", 0), 0U) << error.what();
    return std::nullopt;
  }
}

// jinja2's own results, for one construct each, for the templates of the trained models, and for
// templates in the published forms of the families.
TEST(ChatTemplateTest, RendersAsJinja2Does) {
  for (const Json& golden : goldens().at("cases")) {
    const std::string source = goldens().at("templates").at(golden.at("template").get<int>());
    const Json& context = goldens().at("contexts").at(golden.at("context").get<int>());
    const auto got = rendered(source, context);
    const Json& expected = golden.at("expected");
    SCOPED_TRACE(source.substr(0, 200));
    if (expected.is_null()) {
      EXPECT_EQ(got, std::nullopt) << "jinja2 refuses this";
    } else {
      EXPECT_EQ(got, expected.get<std::string>());
    }
  }
}

TEST(ChatTemplateTest, NamesTheLineOfAnError) {
  try {
    ChatTemplate("a\nb\n{{ raise_exception('roles must alternate') }}").render(Json::object());
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "chat template line 3: roles must alternate");
  }
}

TEST(ChatTemplateTest, HostileTemplatesEndInAnError) {
  const char* const kHostile[] = {
      "{% for a in range(1000000000) %}{% endfor %}",
      "{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}",
      "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
      "{{ 'x' * 9999999999 }}",
      "{% set ns = namespace(s='x') %}{% for i in range(99) %}{% set ns.s = ns.s ~ ns.s %}"
      "{% endfor %}",
      "{{ 9223372036854775807 + 1 }}",
      "{{ [1][::9223372036854775807] }}{{ 1 // 0 }}",
      "{% set ns = namespace() %}{% set ns.a = ns %}",
  };
  for (const char* source : kHostile) {
    EXPECT_EQ(rendered(source, Json::object()), std::nullopt) << source;
  }
  EXPECT_EQ(rendered(std::string(100000, '('), Json::object()), "" + std::string(100000, '('));
  EXPECT_EQ(rendered("{{ " + std::string(5000, '(') + " }}", Json::object()), std::nullopt);
}

// Cuts and flips of real templates: an error or a text, never a crash.
TEST(ChatTemplateTest, DamagedTemplatesAreRefusedOrRendered) {
  std::mt19937 rng(/*seed=*/11);
  const Json& templates = goldens().at("templates");
  const Json& context = goldens().at("contexts").back();
  for (int i = 0; i < 1500; ++i) {
    std::string source = templates.at(rng() % templates.size());
    for (std::uint32_t flip = rng() % 4; flip > 0 && !source.empty(); --flip) {
      source[rng() % source.size()] = "{}%-#'\"()|. a0\n"[rng() % 15];
    }
    if (rng() % 3 == 0) source.resize(rng() % (source.size() + 1));
    try {
      ChatTemplate(source).render(context);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument) << source;
    }
  }
}

TEST(TextModelTest, TheBundledModelSpeaks) {
  const TextModel model = load_text(TESSERA_SOURCE_DIR "/deploy/models/tiny-sdar");
  const Json messages = Json::array({{{"role", "user"}, {"content", "Hi"}}});
  EXPECT_EQ(model.render_chat(messages), "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
  EXPECT_EQ(model.eos_id, 2014);
  EXPECT_FALSE(model.bos_id.has_value());
}

TEST(TextModelTest, AFolderWithoutATokenizerIsRefused) {
  EXPECT_ERROR(load_text(TESSERA_SOURCE_DIR "/docs"), kInvalidArgument);
}

}  // namespace
}  // namespace tessera
