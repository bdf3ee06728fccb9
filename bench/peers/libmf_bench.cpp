// libmf_bench FOLDER THREADS FACTORS EPOCHS LAMBDA ETA: trains LIBMF on FOLDER/train.bin as bench_sgd wrote it (int32
// user, int32 movie, float stars a rating), and prints: ratings/s of the median epoch, of the best epoch, and the RMSE on
// FOLDER/test.bin, clipped to 0.5..5 stars. An epoch's time is that between two of LIBMF's own progress lines; its
// preparations are not counted.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <streambuf>
#include <string>
#include <vector>

#include "mf.h"

static double now() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Swallows LIBMF's output and notes when each line ended.
class LineClock : public std::streambuf {
public:
    std::vector<double> ends;

protected:
    int overflow(int c) override {
        if (c == '\n') ends.push_back(now());
        return c;
    }
    std::streamsize xsputn(const char *text, std::streamsize n) override {
        for (std::streamsize i = 0; i < n; i++) overflow(text[i]);
        return n;
    }
};

static std::vector<mf::mf_node> read_nodes(const std::string &path) {
    FILE *file = std::fopen(path.c_str(), "rb");
    if (!file) {
        std::perror(path.c_str());
        std::exit(1);
    }
    std::fseek(file, 0, SEEK_END);
    std::vector<mf::mf_node> nodes(static_cast<size_t>(std::ftell(file)) / sizeof(mf::mf_node));
    std::rewind(file);
    size_t n = std::fread(nodes.data(), sizeof(mf::mf_node), nodes.size(), file);
    std::fclose(file);
    if (n != nodes.size()) std::exit(1);
    return nodes;
}

int main(int argc, char **argv) {
    if (argc != 7) {
        std::fprintf(stderr, "usage: libmf_bench FOLDER THREADS FACTORS EPOCHS LAMBDA ETA\n");
        return 2;
    }
    std::string folder = argv[1];
    std::vector<mf::mf_node> train = read_nodes(folder + "/train.bin"), test = read_nodes(folder + "/test.bin");
    mf::mf_problem problem{};
    for (const auto &node : train) {
        problem.m = std::max(problem.m, node.u + 1);
        problem.n = std::max(problem.n, node.v + 1);
    }
    problem.nnz = static_cast<mf::mf_long>(train.size());
    problem.R = train.data();
    mf::mf_parameter parameter = mf::mf_get_default_param();
    parameter.nr_threads = std::atoi(argv[2]);
    parameter.k = std::atoi(argv[3]);
    parameter.nr_iters = std::atoi(argv[4]);
    parameter.lambda_p2 = parameter.lambda_q2 = static_cast<float>(std::atof(argv[5]));
    parameter.eta = static_cast<float>(std::atof(argv[6]));
    parameter.copy_data = false;
    LineClock clock;
    std::streambuf *terminal = std::cout.rdbuf(&clock);
    mf::mf_model *model = mf::mf_train(&problem, parameter);
    std::cout.rdbuf(terminal);
    std::vector<double> seconds;
    for (size_t i = 1; i + 1 < clock.ends.size(); i++) seconds.push_back(clock.ends[i + 1] - clock.ends[i]);
    if (!model || seconds.empty()) return 1;
    std::sort(seconds.begin(), seconds.end());
    double squared = 0;
    for (const auto &node : test) {
        double score = std::min(5.0, std::max(0.5, static_cast<double>(mf::mf_predict(model, node.u, node.v))));
        squared += (score - node.r) * (score - node.r);
    }
    double n = static_cast<double>(train.size());
    std::printf("%.6g %.6g %.5f\n", n / seconds[seconds.size() / 2], n / seconds[0],
                std::sqrt(squared / static_cast<double>(test.size())));
    mf::mf_destroy_model(&model);
    return 0;
}
