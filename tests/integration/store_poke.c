// store_poke DATABASE SQL - what a test changes in a store that no coordinator has open: 0 when done.
#include "tests/unit/store_poke.h"

int main(int argc, char **argv)
{
    return argc == 3 && store_poke(argv[1], argv[2]) ? 0 : 1;
}
