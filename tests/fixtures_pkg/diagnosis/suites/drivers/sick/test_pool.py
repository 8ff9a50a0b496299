def test_pool_is_open(pool):
    assert pool.get_size() == 1
