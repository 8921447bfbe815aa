#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "common/base/error.h"
#include "coordinator/cli/bench/bench.h"
#include "coordinator/cli/bench/bench_session.h"
#include "coordinator/frontend/frontend.h"
#include "tests/coordinator/frontend/fake_engine.h"
#include "tests/coordinator/frontend/text_fixture.h"

namespace tessera {
namespace {

using ::testing::HasSubstr;

/// The real front end over an engine that answers every request with two commits, "It is" and
/// " 4\n#### 4", and refuses every `refuse_every`-th one.
class BenchServerTest : public ::testing::Test {
 protected:
  void serve(std::size_t num_requests, std::size_t refuse_every) {
    FrontendOptions options;
    options.port = 0;
    options.model = testing::tiny_model();
    options.model.text = std::make_shared<const TextModel>(load_text(testing::tiny_model_dir()));
    options.version = "1.2.3";
    options.unix_seconds = [] { return std::int64_t{1'700'000'000}; };
    frontend_ = std::make_unique<Frontend>(std::move(options), clock_);
    engine_ = std::make_unique<testing::FakeEngine>(*frontend_);
    frontend_->start(*engine_, [] { return ClusterMetrics{}; });
    answers_ = std::thread([this, num_requests, refuse_every] {
      for (std::size_t n = 1; n <= num_requests; ++n) answer(n, n % refuse_every == 0);
    });
  }

  ~BenchServerTest() override {
    answers_.join();
    frontend_->stop();
  }

  std::string url() const { return "http://127.0.0.1:" + std::to_string(frontend_->port()); }

  std::filesystem::path path(const std::string& name) const {
    return std::filesystem::path(::testing::TempDir()) / ("bench_server_" + name);
  }

  /// Two of three answers of the engine are right.
  std::string dataset() const {
    std::ofstream file(path("data.jsonl"));
    file << R"({"id": "a", "task": "word.sum", "question": "2 + 2?", "answer": "", "final": "4"})"
         << "\n"
         << R"({"id": "b", "task": "word.sum", "question": "2 + 3?", "answer": "", "final": "5"})"
         << "\n"
         << R"({"id": "c", "task": "copy", "question": "c", "answer": "It is 4\n#### 4"})"
         << "\n";
    return path("data.jsonl").string();
  }

  std::unique_ptr<testing::FakeEngine> engine_;

 private:
  void answer(std::size_t n, bool is_refused) {
    const RequestId id = engine_->wait_submitted(n).id;
    SequenceUpdate update;
    update.id = id;
    if (is_refused) {
      update.failure = SequenceFailure{FailureReason::kQueueFull, "the queue is full"};
      return engine_->send(std::move(update));
    }
    update.frozen = testing::tiny_tokenizer().encode("It is");
    update.num_steps = 1;
    engine_->send(update);
    update.frozen = testing::tiny_tokenizer().encode(" 4\n#### 4");
    update.num_steps = 3;
    update.finish = FinishReason::kEos;
    engine_->send(std::move(update));
  }

  SystemClock clock_;
  std::unique_ptr<Frontend> frontend_;
  std::thread answers_;
};

TEST_F(BenchServerTest, ClosedAndOpenLoopsMeasureEveryRequest) {
  serve(/*num_requests=*/2 * (2 + 12), /*refuse_every=*/1000);
  BenchOptions options;
  options.server_url = url();
  options.dataset = dataset();
  options.num_requests = 12;
  options.num_warmup = 2;
  options.levels = {{4, std::nullopt}, {std::nullopt, 500.0}};
  const BenchRun run = BenchSession(options, parse_url(url()), nullptr).run();
  ASSERT_EQ(run.summaries.size(), 2u);
  for (const LevelSummary& level : run.summaries) {
    EXPECT_EQ(level.num_ok, 12);
    ASSERT_TRUE(level.accuracy.has_value());
    EXPECT_EQ(level.accuracy->num_right, 8) << "two of three problems";
    EXPECT_EQ(level.nfe_per_request, 3.0);
    EXPECT_GT(level.distribution("ttfc_ms").p50, 0.0);
    EXPECT_TRUE(level.server.has_value());
  }
  const RequestTrace& trace = run.levels[0].requests[0];
  EXPECT_EQ(trace.text, "It is 4\n#### 4");
  EXPECT_EQ(trace.finish_reason, "stop");
  std::int64_t in_commits = 0;
  for (const Commit& commit : trace.commits) in_commits += commit.num_tokens;
  EXPECT_EQ(in_commits, trace.usage.completion_tokens);
  EXPECT_EQ(run.server.at("model"), "tiny");
  EXPECT_EQ(run.server.at("version").at("version"), "1.2.3");
}

TEST_F(BenchServerTest, RandomPromptsHaveTheirLengthOnTheServer) {
  serve(/*num_requests=*/3, /*refuse_every=*/1000);
  BenchOptions options;
  options.server_url = url();
  options.input_len = 37;
  options.output_len = 9;
  options.num_requests = 3;
  options.num_warmup = 0;
  options.request.max_tokens = 9;
  options.request.ignore_eos = true;
  options.levels = {{1, std::nullopt}};
  const BenchRun run = BenchSession(options, parse_url(url()), nullptr).run();
  EXPECT_EQ(run.summaries[0].num_ok, 3);
  EXPECT_EQ(run.levels[0].requests[0].usage.prompt_tokens, 37);
  const SequenceRequest request = engine_->wait_submitted(1);
  EXPECT_EQ(request.prompt.size(), 37u);
  EXPECT_EQ(request.limits.max_tokens, 9);
  EXPECT_TRUE(request.limits.eos_ids.empty());
}

TEST_F(BenchServerTest, TheCommandWritesItsFilesAndCountsFailures) {
  serve(/*num_requests=*/9, /*refuse_every=*/3);
  const std::string server = url(), data = dataset();
  const std::string json = path("run.json").string(), plot = path("run.svg").string();
  const std::vector<const char*> flags = {"bench",
                                          "--server",
                                          server.c_str(),
                                          "--dataset",
                                          data.c_str(),
                                          "--concurrency",
                                          "3",
                                          "--warmup",
                                          "0",
                                          "--num-requests",
                                          "9",
                                          "--json",
                                          json.c_str(),
                                          "--plot",
                                          plot.c_str(),
                                          "--max-tokens",
                                          "32",
                                          "--slo",
                                          "e2e=60000",
                                          "--no-progress"};
  ::testing::internal::CaptureStdout();
  const int exit_code = run_bench(static_cast<int>(flags.size()), flags.data());
  const std::string report = ::testing::internal::GetCapturedStdout();
  EXPECT_EQ(exit_code, 2) << "requests failed";
  EXPECT_THAT(report, HasSubstr("HTTP 429 queue_full"));
  EXPECT_THAT(report, HasSubstr("the queue is full"));
  std::ifstream file(json);
  const auto document = nlohmann::json::parse(file);
  const auto& level = document.at("levels").at(0);
  EXPECT_EQ(level.at("ok"), 6);
  EXPECT_EQ(level.at("failures").at(0).at("count"), 3);
  EXPECT_GT(level.at("goodput").get<double>(), 0.0);
  EXPECT_EQ(level.at("traces").size(), 9u);
  EXPECT_TRUE(std::filesystem::file_size(plot) > 1000);
}

TEST(BenchConnectionTest, AServerThatIsNotThereIsAnErrorThatNamesIt) {
  BenchOptions options;
  options.server_url = "http://127.0.0.1:1";
  const auto data = std::filesystem::path(::testing::TempDir()) / "bench_no_server.jsonl";
  std::ofstream(data) << R"({"question": "a"})"
                      << "\n";
  options.dataset = data.string();
  options.levels = {{1, std::nullopt}};
  try {
    BenchSession(options, parse_url(options.server_url), nullptr).run();
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("127.0.0.1:1"));
  }
}

}  // namespace
}  // namespace tessera
