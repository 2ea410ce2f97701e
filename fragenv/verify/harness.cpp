// Runs an emitted chip: owns the DRAM, the program memory and the configuration memory, and writes down
// when every command began and ended.
//
// model PROGRAM MEMORY INPUT OUTPUT STAMPS LATENCY CONFIG_RATE LIMIT JOBS UNITS LOADS [ADDRESS BYTES]... DUMPS [...]
// INPUT holds, job after job, the bytes of each load; OUTPUT gets those of each dump. STAMPS gets a line
// "unit start end" per command of the first job. Prints one line per job: its cycles. Exit status: 0; 3 where a
// job passes LIMIT cycles, 4 where the chip reports an error or leaves the memory, 5 for unusable files.
#include "Vmodel.h"
#include "verilated.h"

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <string>
#include <vector>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace {

struct Segment {
  uint64_t address, bytes;
};

struct Answer {
  uint64_t due;
  uint32_t address;
  uint32_t bytes;
  bool write;
};

[[noreturn]] void fail(int status, const std::string& what) {
  std::fprintf(stderr, "%s\n", what.c_str());
  std::exit(status);
}

// A private mapping of a file: writes stay in memory.
uint8_t* map(const char* path, uint64_t& size) {
  const int file = open(path, O_RDONLY);
  struct stat status;
  if (file < 0 || fstat(file, &status) != 0) fail(5, std::string("cannot read ") + path);
  size = status.st_size;
  if (size == 0) return nullptr;
  void* data = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0);
  if (data == MAP_FAILED) fail(5, std::string("cannot map ") + path);
  close(file);
  return static_cast<uint8_t*>(data);
}

std::vector<Segment> segments(char**& argument) {
  std::vector<Segment> result(std::strtoull(*argument++, nullptr, 10));
  for (auto& segment : result) {
    segment.address = std::strtoull(*argument++, nullptr, 10);
    segment.bytes = std::strtoull(*argument++, nullptr, 10);
  }
  return result;
}

}  // namespace

int main(int, char** argv) {
  char** argument = argv + 1;
  uint64_t program_bytes, memory_bytes, input_bytes;
  const auto* program = reinterpret_cast<const uint64_t*>(map(*argument++, program_bytes));
  uint8_t* memory = map(*argument++, memory_bytes);
  const uint8_t* input = map(*argument++, input_bytes);
  std::FILE* output = std::fopen(*argument++, "wb");
  std::FILE* stamps = std::fopen(*argument++, "w");
  if (!output || !stamps) fail(5, "cannot write the results");
  const uint64_t latency = std::max<uint64_t>(1, std::strtoull(*argument++, nullptr, 10));
  const double config_rate = std::strtod(*argument++, nullptr);
  const uint64_t limit = std::strtoull(*argument++, nullptr, 10);
  const int jobs = std::atoi(*argument++);
  const int units = std::atoi(*argument++);
  const auto loads = segments(argument);
  const auto dumps = segments(argument);

  VerilatedContext context;
  Vmodel model{&context};
  const uint8_t* next_input = input;
  for (int job = 0; job < jobs; job++) {
    for (const auto& load : loads) {
      if (load.address + load.bytes > memory_bytes) fail(5, "an input lies outside of the memory");
      std::memcpy(memory + load.address, next_input, load.bytes);
      next_input += load.bytes;
    }
    std::deque<Answer> answers;
    std::vector<int64_t> begun(units, -1);
    uint64_t config_total = 0, config_cycles = 0, config_at = 0;
    model.dram_ready_i = 1;
    model.dram_valid_i = 0;
    model.config_valid_i = 0;
    model.rst_ni = 0;
    for (int i = 0; i < 2; i++) {
      model.clk_i = 0;
      model.eval();
      model.clk_i = 1;
      model.eval();
    }
    model.rst_ni = 1;
    uint64_t cycle = 0;
    for (;; cycle++) {
      if (cycle > limit) fail(3, "job " + std::to_string(job) + " passed the limit of " + std::to_string(limit) + " cycles");
      const uint64_t word = model.program_address_o;
      model.program_i = word < program_bytes / 8 ? program[word] : 0;
      model.dram_valid_i = !answers.empty() && answers.front().due == cycle;
      if (model.dram_valid_i) {
        const Answer answer = answers.front();
        answers.pop_front();
        if (!answer.write) std::memcpy(&model.dram_data_i, memory + answer.address, answer.bytes);
      }
      model.config_valid_i = config_at < config_cycles;
      if (model.config_valid_i) {
        const uint64_t before = config_total * config_at / config_cycles;
        config_at++;
        model.config_bytes_i = config_total * config_at / config_cycles - before;
      }
      model.clk_i = 0;
      model.eval();
      uint64_t start = 0, complete = 0;
      std::memcpy(&start, &model.unit_start_o, sizeof(model.unit_start_o));
      std::memcpy(&complete, &model.unit_complete_o, sizeof(model.unit_complete_o));
      for (int unit = 0; unit < units; unit++) {
        if ((start >> unit & 1) && begun[unit] < 0) begun[unit] = cycle;
        if (complete >> unit & 1) {
          if (job == 0) std::fprintf(stamps, "%d %lld %llu\n", unit, static_cast<long long>(begun[unit]), static_cast<unsigned long long>(cycle + 1));
          begun[unit] = -1;
        }
      }
      if (model.error_o) fail(4, "the chip reports an error in cycle " + std::to_string(cycle));
      if (model.dram_valid_o) {
        const Answer answer{cycle + latency, model.dram_address_o, model.dram_bytes_o, model.dram_write_o != 0};
        if (answer.address + uint64_t{answer.bytes} > memory_bytes) fail(4, "the chip leaves the memory in cycle " + std::to_string(cycle));
        if (answer.write) std::memcpy(memory + answer.address, &model.dram_data_o, answer.bytes);
        answers.push_back(answer);
      }
      if (model.config_request_o) {
        config_total = model.config_bytes_o;
        config_cycles = std::max<uint64_t>(1, std::llround(config_total / config_rate));
        config_at = 0;
      }
      if (model.over_o) break;
      model.clk_i = 1;
      model.eval();
    }
    for (const auto& dump : dumps) std::fwrite(memory + dump.address, 1, dump.bytes, output);
    std::printf("%llu\n", static_cast<unsigned long long>(cycle));
    std::fflush(stdout);
  }
  model.final();
  return std::fclose(output) || std::fclose(stamps) ? 5 : 0;
}
