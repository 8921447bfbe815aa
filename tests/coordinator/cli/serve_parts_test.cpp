// The parts of `tessera serve` that need no server.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sstream>

#include "common/base/error.h"
#include "coordinator/cli/serve/child_process.h"
#include "coordinator/cli/serve/coordinator_link.h"
#include "coordinator/cli/serve/output_lines.h"
#include "coordinator/cli/serve/serve_commands.h"
#include "coordinator/cli/serve/serve_report.h"

namespace tessera {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using Kind = CoordinatorMessage::Kind;

TEST(OutputLinesTest, CutsLinesWhereverTheBytesAreCut) {
  std::vector<std::string> lines;
  const auto take = [&](const std::string& line) { lines.push_back(line); };
  OutputLines output;
  output.feed("one\ntw", take);
  output.feed("o\r\n\x1b[31mred\x1b[0m\n\nlast", take);
  EXPECT_THAT(lines, ElementsAre("one", "two", "red"));
  output.finish(take);
  EXPECT_THAT(lines, ElementsAre("one", "two", "red", "last"));
}

TEST(OutputLinesTest, KeepsTheLastLinesAndBoundsTheirLength) {
  OutputLines output;
  int num_lines = 0;
  const auto count = [&](const std::string&) { ++num_lines; };
  for (int i = 0; i < 100; ++i) output.feed("line " + std::to_string(i) + "\n", count);
  EXPECT_EQ(output.last().size(), OutputLines::kNumKept);
  EXPECT_EQ(output.last().back(), "line 99");
  output.feed(std::string(3 * OutputLines::kMaxLineBytes, 'x'), count);
  EXPECT_EQ(num_lines, 103);
}

TEST(CoordinatorLinkTest, UnderstandsWhatTheCoordinatorSays) {
  const auto listening = parse_coordinator_message("listening tcp://127.0.0.1:9000 8080");
  EXPECT_EQ(listening.kind, Kind::kListening);
  EXPECT_EQ(listening.control_endpoint, "tcp://127.0.0.1:9000");
  EXPECT_EQ(listening.http_port, 8080);
  EXPECT_EQ(parse_coordinator_message("ready job 1").job_id, "job 1");
  EXPECT_EQ(parse_coordinator_message("lost job 1").kind, Kind::kLost);
  for (const char* line : {"", "listening", "listening tcp://x", "ready", "hello x"}) {
    EXPECT_THROW(parse_coordinator_message(line), Error) << line;
  }
}

TEST(CoordinatorLinkTest, HandsOutWholeLinesOnly) {
  CoordinatorLink link;
  ASSERT_EQ(write(link.coordinator_end(), "ready a\nlo", 10), 10);
  ASSERT_EQ(link.receive().size(), 1U);
  ASSERT_EQ(write(link.coordinator_end(), "st a\n", 5), 5);
  const auto messages = link.receive();
  ASSERT_EQ(messages.size(), 1U);
  EXPECT_EQ(messages[0].kind, Kind::kLost);
}

ServerConfig some_config() {
  ServerConfig config;
  config.model = "models/tiny";
  config.tp = 2;
  config.port = 9999;
  return config;
}

TEST(ServeCommandsTest, SecretsAreInTheEnvironmentOnly) {
  const ServePrograms programs{"coordinator", "worker"};
  const auto coordinator = coordinator_command(some_config(), programs, "s3cret", 7);
  const auto job = job_command(some_config(), programs, "s3cret", "job", "tcp://127.0.0.1:1", 0);
  for (const auto& command : {coordinator, job}) {
    EXPECT_THAT(command.arguments, Not(Contains(HasSubstr("s3cret"))));
    EXPECT_THAT(command.environment, Contains("TESSERA_CONTROL_TOKEN=s3cret"));
  }
  EXPECT_THAT(coordinator.environment, Contains("TESSERA_SUPERVISOR_FD=7"));
  EXPECT_EQ(coordinator.inherited, 7);
  EXPECT_THAT(job.environment, Contains("TESSERA_JOB_ID=job"));
}

TEST(ServeCommandsTest, EachProgramGetsItsFlags) {
  const ServePrograms programs{"coordinator", "worker"};
  const auto coordinator = coordinator_command(some_config(), programs, "", 7);
  EXPECT_THAT(coordinator.arguments, Contains("--port=9999"));
  const auto job = job_command(some_config(), programs, "", "job", "tcp://127.0.0.1:1", 0);
  EXPECT_EQ(job.arguments.front(), "mpirun");
  EXPECT_THAT(job.arguments, Contains("--coordinator=tcp://127.0.0.1:1"));
  EXPECT_THAT(job.arguments, Not(Contains("--port=9999")));
}

TEST(ServeCommandsTest, EachRankOfEachReplicaGetsAGpuOfItsOwn) {
  const ServePrograms programs{"coordinator", "worker"};
  ServerConfig config = some_config();
  config.first_device = 1;
  config.replicas = 3;
  const auto first_device_of = [&](std::int32_t slot) {
    const auto job = job_command(config, programs, "", "job", "tcp://127.0.0.1:1", slot);
    for (const std::string& flag : job.arguments) {
      if (flag.starts_with("--first-device=")) return flag.substr(flag.find('=') + 1);
    }
    return std::string("0");
  };
  EXPECT_EQ(first_device_of(0), "1");
  EXPECT_EQ(first_device_of(1), "3");
  EXPECT_EQ(first_device_of(2), "5");
}

TEST(ServeCommandsTest, ReplicasShareOutTheCpus) {
  const std::vector<int> cpus = {0, 1, 4, 5, 6};
  EXPECT_THAT(cpus_of_replica(cpus, 0, 2), ElementsAre(0, 1));
  EXPECT_THAT(cpus_of_replica(cpus, 1, 2), ElementsAre(4, 5, 6));
  EXPECT_EQ(cpus_of_replica(cpus, 7, 8), cpus) << "too few: all share all";
}

TEST(ServeReportTest, WritesColoursForTerminalsOnly) {
  std::ostringstream plain;
  ServeReport(plain, ReportStyle::kPlain).line("serve", "text");
  EXPECT_EQ(plain.str(), "serve       | text\n");
  std::ostringstream coloured;
  ServeReport(coloured, ReportStyle::kColours).line("serve", "text");
  EXPECT_THAT(coloured.str(), HasSubstr("\x1b["));
}

TEST(ServeReportTest, JsonLinesOfChildrenPassUnchanged) {
  std::ostringstream out;
  ServeReport(out, ReportStyle::kJson).pass_on("replica 0", R"({"message":"hello"})");
  EXPECT_EQ(out.str(), "{\"message\":\"hello\"}\n");
}

TEST(ServeReportTest, NamesAddressesThatAClientCanUse) {
  EXPECT_EQ(local_url("0.0.0.0", 80), "http://127.0.0.1:80");
  EXPECT_EQ(local_url("::", 80), "http://[::1]:80");
  EXPECT_EQ(local_url("10.1.2.3", 80), "http://10.1.2.3:80");
  EXPECT_EQ(exit_text(65), "exit code 65");
  EXPECT_THAT(exit_text(137), HasSubstr("signal 9"));
}

/// Reads from a child until it has closed its output.
std::string read_all(const ChildProcess& child) {
  std::string text;
  for (;;) {
    pollfd item{child.output(), POLLIN, 0};
    if (poll(&item, 1, 30'000) <= 0) return text + "(no end of output)";
    char buffer[256];
    const ssize_t size = read(child.output(), buffer, sizeof(buffer));
    if (size <= 0) return text;
    text.append(buffer, static_cast<std::size_t>(size));
  }
}

TEST(ChildProcessTest, RunsAProgramWithItsEnvironment) {
  ChildCommand command;
  command.arguments = {"sh", "-c", "echo $GREETING; echo $HOME >&2; cat"};
  command.environment = {"GREETING=hello", "HOME=elsewhere"};
  const ChildProcess child(command);
  EXPECT_EQ(read_all(child), "hello\nelsewhere\n") << "standard input is empty: cat ends";
  int status = 0;
  waitpid(child.pid(), &status, 0);
  EXPECT_EQ(status, 0);
}

TEST(ChildProcessTest, AMissingProgramSaysSo) {
  ChildCommand command;
  command.arguments = {"no-such-program-here"};
  const ChildProcess child(command);
  EXPECT_THAT(read_all(child), HasSubstr("cannot execute no-such-program-here"));
  int status = 0;
  waitpid(child.pid(), &status, 0);
  EXPECT_EQ(WEXITSTATUS(status), 127);
}

TEST(ChildProcessTest, KillsTheWholeSessionEvenStoppedOrphansInOtherGroups) {
  adopt_orphans();
  ChildCommand command;
  // As mpirun does it: a grandchild in a process group of its own. It must not mind the SIGHUP that
  // orphaned groups get.
  command.arguments = {"bash", "-c", "set -m; trap '' HUP; sleep 1000 & exit 0"};
  const ChildProcess child(command);
  EXPECT_EQ(waitpid(child.pid(), nullptr, 0), child.pid());
  const std::vector<pid_t> left = processes_of_session(child.pid());
  ASSERT_EQ(left.size(), 1U);
  EXPECT_NE(getpgid(left[0]), child.pid());
  kill(left[0], SIGSTOP);
  EXPECT_TRUE(child.kill_session());
  EXPECT_EQ(waitpid(left[0], nullptr, 0), left[0]) << "we are its reaper";
  EXPECT_FALSE(child.kill_session());
  EXPECT_THAT(processes_of_session(child.pid()), IsEmpty());
}

}  // namespace
}  // namespace tessera
