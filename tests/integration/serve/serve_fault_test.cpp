// `tessera serve` with ranks that never work, and without its programs.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/integration/serve/served_model_process.h"

namespace tessera {
namespace {

using testing::await_end_of;
using testing::ServedModelProcess;

std::vector<std::string> faulty_command(const std::vector<std::string>& flags) {
  std::vector<std::string> command = {TESSERA_SERVE_WITH_WORKER, TESSERA_FAULTY_WORKER,
                                      TESSERA_COORDINATOR, TESSERA_TINY_SDAR, "--port=0"};
  command.insert(command.end(), flags.begin(), flags.end());
  return command;
}

TEST(ServeFaultTest, ErrorsThatWouldComeAgainAreNotTriedAgain) {
  for (const int code : {64, 66}) {
    ServedModelProcess serve(faulty_command({"--tp=2"}),
                             {{"TESSERA_TEST_FAULT", std::to_string(code)}});
    EXPECT_EQ(serve.await_exit(), code);
    EXPECT_NE(serve.output().find("Its last lines:\n  this worker was told"), std::string::npos);
    EXPECT_EQ(serve.output().find("start-2"), std::string::npos) << serve.output();
  }
}

TEST(ServeFaultTest, ACrashAtTheStartUsesUpTheRestartBudget) {
  ServedModelProcess serve(faulty_command({"--restart-budget=1"}), {{"TESSERA_TEST_FAULT", "70"}});
  EXPECT_EQ(serve.await_exit(), 69);
  EXPECT_NE(serve.output().find("given up after 1 restart"), std::string::npos) << serve.output();
}

TEST(ServeFaultTest, AJobThatNeverComesUpEndsTheServer) {
  ServedModelProcess serve(faulty_command({"--tp=2", "--join-timeout=1", "--restart-budget=1"}),
                           {{"TESSERA_TEST_FAULT", "hang"}});
  serve.await_output("told to misbehave", 4);  // two ranks, started twice
  const auto family = serve.family();
  EXPECT_EQ(serve.await_exit(), 69);
  EXPECT_NE(serve.output().find("not ready within 1 s"), std::string::npos) << serve.output();
  EXPECT_TRUE(await_end_of(family).empty());
}

TEST(ServeFaultTest, AMissingProgramIsNamed) {
  std::vector<std::string> command = faulty_command({});
  command.at(2) = "/nonexistent/tessera-coordinator";
  ServedModelProcess serve(command);
  EXPECT_EQ(serve.await_exit(), 127);
  EXPECT_NE(serve.output().find("cannot execute /nonexistent/tessera-coordinator"),
            std::string::npos);
}

TEST(ServeFaultTest, WhatCanBeCheckedBeforehandStartsNothing) {
  ServedModelProcess no_model({TESSERA_PROGRAM, "serve", "/nonexistent"});
  EXPECT_EQ(no_model.await_exit(), 64);
  EXPECT_NE(no_model.output().find("/nonexistent/config.json is missing"), std::string::npos);

  ServedModelProcess no_degree({TESSERA_PROGRAM, "serve", TESSERA_TINY_SDAR, "--tp=8"});
  EXPECT_EQ(no_degree.await_exit(), 64);
  EXPECT_NE(no_degree.output().find("legal are 1, 2, 4"), std::string::npos);
  EXPECT_EQ(no_degree.output().find("starting"), std::string::npos) << no_degree.output();
}

}  // namespace
}  // namespace tessera
