#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>

#include "common/base/error.h"
#include "coordinator/cli/bench/bench_report.h"
#include "coordinator/cli/bench/markdown_table.h"
#include "coordinator/cli/bench/svg_chart.h"

namespace tessera {
namespace {

using nlohmann::ordered_json;
using std::chrono::milliseconds;
using ::testing::HasSubstr;

RequestTrace request(int index) {
  RequestTrace trace;
  trace.id = "p" + std::to_string(index);
  trace.task = "copy";
  trace.commits = {{milliseconds(40 + index), 4}, {milliseconds(80 + index), 6}};
  trace.ended = milliseconds(90 + index);
  trace.text = "text & <more>";
  trace.finish_reason = "stop";
  trace.usage.prompt_tokens = 9;
  trace.usage.completion_tokens = 10;
  trace.usage.nfe = 4;
  trace.is_right = index % 2 == 0;
  return trace;
}

RequestTrace failed_request(const std::string& kind, const std::string& message) {
  RequestTrace trace;
  trace.id = "bad";
  trace.failure = kind;
  trace.failure_detail = message;
  return trace;
}

BenchRun run_of(const std::vector<std::int32_t>& sweep) {
  BenchRun run;
  run.machine = {"A \"CPU\" & more", 2, 1 << 30, "Linux", "here"};
  run.time = "2026-01-01T00:00:00Z";
  run.server = {{"model", "tiny<model>"}};
  run.workload = {{"kind", "dataset"}};
  for (const std::int32_t concurrency : sweep) {
    LevelResult level{{concurrency, std::nullopt}, milliseconds(1000), {}, ServerFigures{}};
    for (int i = 0; i < 4 * concurrency; ++i) level.requests.push_back(request(i));
    level.requests.push_back(failed_request("HTTP 500 internal", "a|b"));
    run.levels.push_back(std::move(level));
    run.summaries.push_back(summarize(run.levels.back(), {}));
  }
  return run;
}

/// Fails unless tags nest, attributes are quoted and `&`, `<` are escaped: what a parser of XML
/// asks.
void expect_well_formed(const std::string& xml) {
  std::vector<std::string> open;
  for (std::size_t at = 0; (at = xml.find('<', at)) != std::string::npos;) {
    const std::size_t end = xml.find('>', at);
    ASSERT_NE(end, std::string::npos);
    const std::string tag = xml.substr(at + 1, end - at - 1);
    EXPECT_EQ(tag.find('<'), std::string::npos) << tag;
    EXPECT_EQ(std::ranges::count(tag, '"') % 2, 0) << tag;
    const std::string name = tag.substr(0, tag.find_first_of(" /", 1));
    if (tag.starts_with("/")) {
      ASSERT_FALSE(open.empty()) << tag;
      EXPECT_EQ(open.back(), tag.substr(1));
      open.pop_back();
    } else if (!tag.ends_with("/")) {
      open.push_back(name);
    }
    at = end;
  }
  EXPECT_TRUE(open.empty());
  for (std::size_t at = 0; (at = xml.find('&', at)) != std::string::npos; ++at) {
    const std::string entity = xml.substr(at, xml.find(';', at) - at + 1);
    EXPECT_THAT(entity, ::testing::AnyOf("&amp;", "&lt;", "&gt;", "&quot;"));
  }
}

TEST(ReportSvgTest, IsWellFormedAndShowsEveryLevel) {
  const std::string svg = report_svg(run_of({1, 4, 16}));
  expect_well_formed(svg);
  for (const char* text :
       {">1</text>", ">4</text>", ">16</text>", "requests at a time", "tokens per second",
        "milliseconds", "end to end p99", "tiny&lt;model&gt;", "first commit p50"}) {
    EXPECT_THAT(svg, HasSubstr(text));
  }
  EXPECT_EQ(svg.find("nan"), std::string::npos);
}

TEST(ReportSvgTest, ALevelWithoutAnySuccessIsDrawnAsZero) {
  BenchRun run = run_of({1});
  run.levels[0].requests = {failed_request("connection", "refused")};
  run.summaries[0] = summarize(run.levels[0], {});
  const std::string svg = report_svg(run);
  expect_well_formed(svg);
  EXPECT_EQ(svg.find("nan"), std::string::npos);
}

TEST(AxisTicksTest, AreRoundAndReachTheTop) {
  EXPECT_EQ(axis_ticks(100), (std::vector<double>{0, 20, 40, 60, 80, 100}));
  EXPECT_EQ(axis_ticks(0), (std::vector<double>{0, 1}));
  for (double top = 1e-3; top < 1e6; top *= 1.37) {
    const auto ticks = axis_ticks(top);
    EXPECT_GE(ticks.back(), top * (1 - 1e-9));
    EXPECT_GE(ticks.size(), 3u) << top;
    EXPECT_LE(ticks.size(), 8u) << top;
  }
}

TEST(ReportMarkdownTest, TablesHaveEqualCellsInAllLines) {
  const std::string text = report_markdown(run_of({1, 4, 16}));
  for (const char* words : {"A \"CPU\" & more", "16 at a time", "Knee", "Time to first commit",
                            "Inter-commit latency", "HTTP 500 internal", "a\\|b", "50 %"}) {
    EXPECT_THAT(text, HasSubstr(words));
  }
  std::istringstream lines(text);
  long cells = 0;
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("|")) {
      cells = 0;
      continue;
    }
    const long bars =
        std::ranges::count(line, '|') - (line.find("\\|") == std::string::npos ? 0 : 1);
    if (cells != 0) {
      EXPECT_EQ(bars, cells) << line;
    }
    cells = bars;
  }
}

TEST(MarkdownTableTest, NumbersHaveThreeDigitsOrAreWhole) {
  EXPECT_EQ(number_text(0.0), "0");
  EXPECT_EQ(number_text(0.1234), "0.123");
  EXPECT_EQ(number_text(1.234), "1.23");
  EXPECT_EQ(number_text(12.34), "12.3");
  EXPECT_EQ(number_text(50), "50");
  EXPECT_EQ(number_text(12345.6), "12346");
  EXPECT_THROW(MarkdownTable({"a", "b"}).add({"1"}), Error);
}

TEST(ReportJsonTest, HasEveryFigureOfEveryRequestAndLevel) {
  BenchOptions options;
  options.dataset = "d.jsonl";
  const ordered_json report = report_json(run_of({1, 4}), options);
  EXPECT_EQ(report.at("schema"), "tessera.bench/1");
  EXPECT_EQ(report.at("machine").at("cores"), 2);
  EXPECT_EQ(report.at("machine").at("cpu"), "A \"CPU\" & more");
  ASSERT_EQ(report.at("levels").size(), 2u);
  const ordered_json& level = report.at("levels").at(1);
  EXPECT_EQ(level.at("concurrency"), 4);
  EXPECT_EQ(level.at("rate"), nullptr);
  EXPECT_EQ(level.at("accuracy").at("percent"), 50.0);
  EXPECT_EQ(level.at("failures").at(0).at("count"), 1);
  for (const char* key :
       {"ttfc_ms", "first_commit_tokens", "icl_ms", "icl_p95_ms", "commit_tokens", "tpot_ms",
        "e2e_ms", "user_tokens_per_second", "output_tokens", "nfe", "tokens_per_forward"}) {
    for (const char* part : {"count", "mean", "p50", "p90", "p95", "p99", "max"}) {
      EXPECT_TRUE(level.at("distributions").at(key).at(part).is_number()) << key << "." << part;
    }
  }
  ASSERT_EQ(level.at("traces").size(), 17u) << "failed requests, too";
  const ordered_json& trace = level.at("traces").at(0);
  EXPECT_EQ(trace.at("commits").size(), 2u);
  EXPECT_EQ(trace.at("icl_ms").at(0), 40.0);
  EXPECT_EQ(trace.at("right"), true);
  EXPECT_EQ(level.at("traces").at(16).at("failure").at("kind"), "HTTP 500 internal");
}

}  // namespace
}  // namespace tessera
